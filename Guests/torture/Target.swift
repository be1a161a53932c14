// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A device whose memory goes off and on and whose BAR moves.
struct Target {
  let index: UInt32
  let function: PCIFunction
  /// The port above the device, or nil on the root bus.
  let port: RootPort?
  /// The GPA of the device's configuration space in the ECAM, or 0 if there is no ECAM.
  let ecam: UInt64
  /// The offset of the register that the processors read.
  let constant: UInt64
  /// The BAR at its original address, and its second address.
  let home: BAR
  let away: UInt64
  private(set) var bar: BAR

  init?(_ index: UInt32, _ function: PCIFunction?, ecam: UInt64?) {
    guard let function else { return nil }
    port = RootPort.above(function)
    port?.forward()
    guard let probe = Probe.of(function) else { return nil }
    self.index = index
    self.function = function
    self.ecam = ecam.map { function.ecamAddress($0) } ?? 0
    // e1000e: use the upper half of the receive address, which this guest never writes.
    constant = probe.constant == E1000e.Register.receiveAddress ? probe.constant + 4 : probe.constant
    home = probe.bar
    bar = probe.bar
    if port != nil {
      // A port forwards only the addresses of its window.
      away = probe.bar.address + 1 << 20
    } else if probe.bar.is64Bit {
      away = UInt64(0x48 + index) << 32 | probe.bar.address & 0xFFFF_FFFF
    } else {
      away = 0xD800_0000 + UInt64(index) << 24
    }
    guard PageMap.map(away, size: probe.bar.size) else { return nil }
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
    if probe.isMemory { mmio_store32(bar.address + constant, 0x5EA1_ED00) }
    publish()
    shared_store(Shared.value(index), UInt64(value))
  }

  /// The value of the register, read once.
  var value: UInt32 { mmio_load32(bar.address + constant) }

  /// The expected value of the register.
  var expected: UInt32 { UInt32(truncatingIfNeeded: shared_load(Shared.value(index))) }

  private func publish() {
    shared_store(Shared.address(index), bar.address + constant)
    shared_store(Shared.registers(index), bar.address)
  }

  /// Begins a change. The register's value is uncertain until `endChange`.
  func beginChange() {
    shared_store(Shared.epoch(index), shared_load(Shared.epoch(index)) + 1)
    LocalAPIC.interruptOthers(Vector.wake)
  }

  /// Ends a change. From now on, the register must read its value.
  func endChange() {
    shared_store(Shared.epoch(index), shared_load(Shared.epoch(index)) + 1)
    LocalAPIC.interruptOthers(Vector.wake)
  }

  /// Writes COMMAND through ports or ECAM. Returns true if a read through each of them returns the written
  /// value.
  func setMemory(_ on: Bool, throughMemory: Bool) -> Bool {
    let command = function.command
    let bit = PCIFunction.Command.memory
    let new = on ? command | bit : command & ~bit
    let address = ecam + UInt64(PCIFunction.Register.command)
    if throughMemory, ecam != 0 {
      mmio_store16(address, new)
    } else {
      function.store16(PCIFunction.Register.command, new)
    }
    return function.command == new && (ecam == 0 || mmio_load16(address) == new)
  }

  /// Moves the BAR to its other address.
  mutating func move() {
    bar = bar.moved(function, to: bar.address == home.address ? away : home.address)
    publish()
  }

  /// Restores the BAR and COMMAND after a reset.
  func restore() {
    _ = bar.moved(function, to: bar.address)
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  }

  /// True if the BAR's registers and COMMAND have the expected values, through ports and ECAM.
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
