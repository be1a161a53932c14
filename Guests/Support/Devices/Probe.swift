// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A device's BAR and its registers for tests: a register that never changes by itself, and if the device has
/// one, a register or memory that keeps written values.
struct Probe {
  let function: PCIFunction
  var bar: BAR
  /// The offset of a 32-bit register whose value is constant and not all-ones.
  let constant: UInt64
  /// The expected value of the register, or nil if unknown.
  let expected: UInt32?
  /// The offset of 8 bytes that keep written values, or nil.
  let scratch: UInt64?
  /// The bits of the 8 bytes that keep written values.
  let scratchMask: UInt64
  /// The access widths in bytes that the device supports there, as a set of bits: 1, 2, 4, 8.
  let widths: UInt8
  /// True if the whole BAR is memory.
  let isMemory: Bool
  /// The value of an 8-byte read of the BAR while memory decoding is off: all-ones, as PCI requires. Directly
  /// under QEMU the read returns 0, which `closed=0` on the command line selects.
  let closed: UInt64
  /// True if reads at each offset of the BAR have no side effects.
  var readsPages = true

  private struct Kind {
    let bar: UInt8
    let constant: UInt64
    let expected: UInt32?
    let scratch: UInt64?
    let scratchMask: UInt64
    let widths: UInt8
    var isMemory = false
  }

  /// Returns the registers of a known device, or nil.
  private static func kind(_ function: PCIFunction) -> Kind? {
    switch (function.vendor, function.device) {
    case (0x1234, 0x11E8):  // edu: identification; DMA source address
      Kind(
        bar: 0, constant: 0, expected: 0x0100_00ED, scratch: 0x80,
        scratchMask: .max, widths: 4 | 8)
    case (0x1AF4, 0x1110):  // ivshmem-plain: memory
      Kind(
        bar: 2, constant: 0, expected: nil, scratch: 0,
        scratchMask: .max, widths: 1 | 2 | 4 | 8, isMemory: true)
    case (0x8086, 0x10D3):  // e1000e: receive address 0 (RAL0), as STATUS may change by itself
      Kind(
        bar: 0, constant: 0x5400, expected: nil, scratch: nil,
        scratchMask: 0, widths: 4)
    default:
      switch function.classCode {
      case 0x01_0802:  // NVMe: VS; ASQ, which keeps page addresses while the controller is off
        Kind(
          bar: 0, constant: 0x08, expected: nil, scratch: 0x28,
          scratchMask: 0x0000_7FFF_FFFF_F000, widths: 4 | 8)
      case 0x01_0601:  // AHCI: VS
        Kind(
          bar: 5, constant: 0x10, expected: nil, scratch: nil, scratchMask: 0,
          widths: 4)
      case 0x0C_0330:  // xHCI: CAPLENGTH and HCIVERSION
        Kind(
          bar: 0, constant: 0, expected: nil, scratch: nil, scratchMask: 0,
          widths: 4)
      default: nil
      }
    }
  }

  /// Returns the device that the command line names, or the first known device, or nil.
  ///
  /// `any=1` on the command line allows any device. See ``any(_:_:)``.
  static func find(_ commandLine: CommandLine) -> Probe? {
    if commandLine.number("any") == 1 { return any(commandLine) }
    guard let function = PCIBus.find(commandLine, where: { kind($0) != nil }) else { return nil }
    return of(function, closed: commandLine.number("closed") == 0 ? 0 : .max)
  }

  /// Returns the probe of a device, or nil if the device is unknown.
  static func of(_ function: PCIFunction, closed: UInt64 = .max) -> Probe? {
    guard let kind = kind(function), let bar = BAR.usable(function, kind.bar) else { return nil }
    return Probe(
      function: function, bar: bar, constant: kind.constant, expected: kind.expected,
      scratch: kind.scratch, scratchMask: kind.scratchMask, widths: kind.widths, isMemory: kind.isMemory,
      closed: closed)
  }

  /// Returns a probe of the first endpoint that only reads: no register keeps written values.
  ///
  /// The probe reads the first word of the first memory BAR in which that word has a constant value that is not
  /// all-ones. `bar=N` on the command line selects one BAR.
  static func any(_ commandLine: CommandLine) -> Probe? {
    guard let function = PCIBus.first(where: { $0.slot > 0 }) else { return nil }
    return any(function, commandLine)
  }

  /// Returns a probe of an endpoint that only reads; see ``any(_:)``.
  static func any(_ function: PCIFunction, _ commandLine: CommandLine) -> Probe? {
    let known = kind(function)
    var found: Probe?
    BAR.forEach(function) { bar in
      guard found == nil, bar.isMemory, UInt64(bar.index) == commandLine.number("bar") ?? UInt64(bar.index),
        let usable = BAR.usable(function, bar.index)
      else { return }
      let constant = known.map { $0.bar == bar.index ? $0.constant : 0 } ?? 0
      // The specification defines that reads of a prefetchable BAR have no side effects (PCI 3.0 §6.2.5.1).
      let probe = Probe(
        function: function, bar: usable, constant: constant, expected: nil, scratch: nil, scratchMask: 0,
        widths: 4,
        isMemory: false, closed: .max, readsPages: bar.isPrefetchable)
      probe.setMemory(true)
      if probe.isConstant { found = probe }
    }
    return found
  }

  /// True if the register has the same value in 100 reads, and the value is not all-ones.
  private var isConstant: Bool {
    let first = value
    for _ in 0..<100 where value != first { return false }
    return first != .max
  }

  /// Reports that no device has a register for the guest. With `any=1`, this is no failure.
  static func reportAbsence(_ commandLine: CommandLine, _ report: inout Report) {
    guard commandLine.number("any") == 1, PCIBus.first(where: { $0.slot > 0 }) != nil else {
      report.check(false, "a known device is present")
      return
    }
    report.check(true, "a device is present")
    report.skip("the first word of the BAR is not constant, or it is all-ones")
  }

  /// The value of the constant register, read once.
  var value: UInt32 { mmio_load32(bar.address + constant) }

  func setMemory(_ on: Bool) { function.setCommand(PCIFunction.Command.memory, on) }
}
