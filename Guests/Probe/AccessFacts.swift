// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The results of reads and writes of a BAR in each state of the function.
struct AccessFacts {
  private let probe: Probe

  /// Creates the facts, or returns nil if the device is unknown.
  init?(function: PCIFunction) {
    guard var probe = Probe.of(function) else {
      Console.print("access = unknown device")
      return nil
    }
    // Move the BAR to a fixed address, with unclaimed addresses after its end.
    probe.setMemory(false)
    probe.bar = probe.bar.moved(function, to: probe.bar.is64Bit ? 0x60_0000_0000 : 0xD000_0000)
    guard PageMap.map(probe.bar.address, size: probe.bar.size * 2) else {
      Console.print("access = page tables exhausted")
      return nil
    }
    self.probe = probe
  }

  private var address: UInt64 { probe.bar.address + probe.constant }

  func write() {
    probe.setMemory(false)
    writeReads("off")
    probe.setMemory(true)
    writeReads("on")
    writeAgain()
    writeScratch()
    writeEnd()
    writeReset()
    probe.setMemory(true)
    writeReads("last")
  }

  /// Writes the results of reads in all widths, aligned and unaligned.
  private func writeReads(_ state: StaticString) {
    Console.print("read.\(state).4 = \(hex: mmio_load32(address), digits: 8)")
    Console.print("read.\(state).8 = \(hex: mmio_load64(address), digits: 16)")
    Console.print("read.\(state).2 = \(hex: mmio_load16(address), digits: 4)")
    Console.print("read.\(state).1 = \(hex: mmio_load8(address), digits: 2)")
    Console.print("read.\(state).2+2 = \(hex: mmio_load16(address + 2), digits: 4)")
    Console.print("read.\(state).1+3 = \(hex: mmio_load8(address + 3), digits: 2)")
    Console.print("read.\(state).2+1 = \(hex: mmio_load16(address + 1), digits: 4)")
    Console.print("read.\(state).4+2 = \(hex: mmio_load32(address + 2), digits: 8)")
  }

  /// Writes the results of reads in each width, as the first and as the second access after memory on.
  private func writeAgain() {
    for width in [UInt8(4), 2, 1, 8] {
      probe.setMemory(false)
      probe.setMemory(true)
      let first = load(width)
      let second = load(width)
      Console.print("first.\(width) = \(hex: first) then \(hex: second)")
    }
  }

  private func load(_ width: UInt8) -> UInt64 {
    switch width {
    case 1: UInt64(mmio_load8(address))
    case 2: UInt64(mmio_load16(address))
    case 4: UInt64(mmio_load32(address))
    default: mmio_load64(address)
    }
  }

  /// Writes whether the device keeps values that are written with memory on, and drops values that are
  /// written with memory off.
  private func writeScratch() {
    guard let scratch = probe.scratch else {
      Console.print("scratch = none")
      return
    }
    let address = probe.bar.address + scratch
    let value = 0x0123_4567_89AB_C000 & probe.scratchMask
    let before = mmio_load64(address)
    mmio_store64(address, value)
    Console.print("scratch.on = \(mmio_load64(address) & probe.scratchMask == value ? 1 : 0 as UInt8)")
    probe.setMemory(false)
    mmio_store64(address, ~value & probe.scratchMask)
    probe.setMemory(true)
    Console.print("scratch.off = kept \(mmio_load64(address) & probe.scratchMask == value ? 1 : 0 as UInt8)")
    mmio_store64(address, before)
  }

  /// Writes the results of accesses after the end of the BAR, which are unclaimed.
  private func writeEnd() {
    guard probe.bar.size >= 4096 else { return }
    let end = probe.bar.end
    Console.print("beyond.4 = \(hex: mmio_load32(end), digits: 8)")
    Console.print("beyond.8 = \(hex: mmio_load64(end), digits: 16)")
    Console.print("beyond.2 = \(hex: mmio_load16(end), digits: 4)")
    Console.print("beyond.1 = \(hex: mmio_load8(end), digits: 2)")
    mmio_store32(end, 0)
    Console.print("beyond.written = \(hex: mmio_load32(end), digits: 8)")
  }

  /// Writes the results of accesses to configuration space and memory in D3hot, and in D0 afterwards.
  func writePower() {
    probe.setMemory(true)
    _ = load(4)
    let function = probe.function
    guard let power = PowerManagement(function) else {
      Console.print("d3hot = no power management")
      return
    }
    function.store16(PCIFunction.Register.command, PCIFunction.Command.memory)
    let command = function.command
    power.enter(PowerManagement.State.d3hot)
    Console.print("d3hot.state = \(power.state)")
    Console.print("d3hot.identity = \(hex: function.load32(0), digits: 8)")
    Console.print("d3hot.command = \(hex: function.command, digits: 4)")
    writeReads("d3hot")
    power.enter(PowerManagement.State.d0)
    Console.print("d0.state = \(power.state)")
    Console.print("d0.command = \(hex: function.command, digits: 4)")
    Console.print(
      "d0.bar = kept \(BAR.read(function, probe.bar.index)?.address == probe.bar.address ? 1 : 0 as UInt8)")
    function.store16(PCIFunction.Register.command, command)
    writeReads("d0")
  }

  private func writeReset() {
    let function = probe.function
    function.store16(PCIFunction.Register.command, PCIFunction.Command.memory)
    guard FunctionReset.start(function) else {
      Console.print("flr = none")
      return
    }
    Console.print("flr.command = \(hex: function.command, digits: 4)")
    Console.print(
      "flr.bar = kept \(BAR.read(function, probe.bar.index)?.address == probe.bar.address ? 1 : 0 as UInt8)")
    Console.print("flr.read = \(hex: mmio_load32(address), digits: 8)")
  }
}
