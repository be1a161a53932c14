// SPDX-License-Identifier: Apache-2.0

import Hardware

/// One of the devices, whose memory goes off and on and whose BAR moves.
struct Target {
  let index: UInt32
  let function: PCIFunction
  /// Where configuration space is in memory; 0 where there is no such way.
  let ecam: UInt64
  /// Offset of the register that is read.
  let constant: UInt64
  /// The BAR's two places.
  let home: BAR
  let away: UInt64
  private(set) var bar: BAR

  init?(_ index: UInt32, _ function: PCIFunction?, ecam: UInt64?) {
    guard let function, let probe = Probe.of(function) else { return nil }
    self.index = index
    self.function = function
    self.ecam = ecam.map { function.ecamAddress($0) } ?? 0
    // e1000e: the higher half of the address, which nothing here writes.
    constant = probe.constant == E1000e.Register.receiveAddress ? probe.constant + 4 : probe.constant
    home = probe.bar
    bar = probe.bar
    away =
      probe.bar.is64Bit
      ? UInt64(0x48 + index) << 32 | probe.bar.address & 0xFFFF_FFFF : 0xD800_0000 + UInt64(index) << 24
    guard PageMap.map(away, size: probe.bar.size) else { return nil }
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
    if probe.isMemory { mmio_store32(bar.address + constant, 0x5EA1_ED00) }
    publish()
    shared_store(Shared.value(index), UInt64(value))
  }

  /// The register, once.
  var value: UInt32 { mmio_load32(bar.address + constant) }

  /// What the register has to read.
  var expected: UInt32 { UInt32(truncatingIfNeeded: shared_load(Shared.value(index))) }

  private func publish() {
    shared_store(Shared.address(index), bar.address + constant)
    shared_store(Shared.registers(index), bar.address)
  }

  /// From now on nothing is certain.
  func beginChange() {
    shared_store(Shared.epoch(index), shared_load(Shared.epoch(index)) + 1)
    LocalAPIC.interruptOthers(Vector.wake)
  }

  /// From now on the register reads its value.
  func endChange() {
    shared_store(Shared.epoch(index), shared_load(Shared.epoch(index)) + 1)
    LocalAPIC.interruptOthers(Vector.wake)
  }

  /// Writes COMMAND, by ports or through memory; whether both ways then read it.
  func setMemory(_ on: Bool, throughMemory: Bool) -> Bool {
    let command = function.command
    let bit = PCIFunction.Command.memory
    let new = on ? command | bit : command & ~bit
    let place = ecam + UInt64(PCIFunction.Register.command)
    if throughMemory, ecam != 0 {
      mmio_store16(place, new)
    } else {
      function.store16(PCIFunction.Register.command, new)
    }
    return function.command == new && (ecam == 0 || mmio_load16(place) == new)
  }

  /// Goes to the other place.
  mutating func move() {
    bar = bar.moved(function, to: bar.address == home.address ? away : home.address)
    publish()
  }

  /// Puts back what a reset took from configuration space.
  func restore() {
    _ = bar.moved(function, to: bar.address)
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  }

  /// Whether the BAR's registers and COMMAND read as they should, by either way.
  var isConfigured: Bool {
    let offset = PCIFunction.Register.firstBAR + UInt16(bar.index) * 4
    let low = function.load32(offset)
    let high = bar.is64Bit ? function.load32(offset + 4) : 0
    guard UInt64(high) << 32 | UInt64(low & ~0xF) == bar.address else { return false }
    let needed = PCIFunction.Command.memory
    guard ecam != 0 else { return function.command & needed == needed }
    return mmio_load32(ecam + UInt64(offset)) == low && mmio_load32(ecam) == function.load32(0)
      && function.command & needed == needed
  }
}
