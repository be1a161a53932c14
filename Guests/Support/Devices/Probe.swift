// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A place in a device's BAR that is fit for tests: a register that never changes by itself,
/// and where there is one, a register or memory that keeps what is written.
struct Probe {
  let function: PCIFunction
  var bar: BAR
  /// Offset of a 32-bit register with a value of its own, which is not all-ones.
  let constant: UInt64
  /// What the register must read, where that is known.
  let expected: UInt32?
  /// Offset of 8 bytes that keep what is written to them.
  let scratch: UInt64?
  /// Which bits of them do.
  let scratchMask: UInt64
  /// Widths in bytes that the device takes there, as a set of bits: 1, 2, 4, 8.
  let widths: UInt8
  /// Whether the whole BAR is memory.
  let isMemory: Bool
  /// What 8 bytes of the BAR read while memory is off: all-ones, as PCI has it. QEMU's own
  /// emulation reads 0 there, which the command line can say: `closed=0`.
  let closed: UInt64

  private struct Kind {
    let bar: UInt8
    let constant: UInt64
    let expected: UInt32?
    let scratch: UInt64?
    let scratchMask: UInt64
    let widths: UInt8
    var isMemory = false
  }

  /// The devices that are known here.
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

  /// The device that the command line names, or the first that is known here.
  static func find(_ commandLine: CommandLine) -> Probe? {
    guard let function = PCIBus.find(commandLine, where: { kind($0) != nil }) else { return nil }
    return of(function, closed: commandLine.number("closed") == 0 ? 0 : .max)
  }

  /// The place in a device; nil where the device is not known here.
  static func of(_ function: PCIFunction, closed: UInt64 = .max) -> Probe? {
    guard let kind = kind(function), let bar = BAR.usable(function, kind.bar) else { return nil }
    return Probe(
      function: function, bar: bar, constant: kind.constant, expected: kind.expected,
      scratch: kind.scratch, scratchMask: kind.scratchMask, widths: kind.widths, isMemory: kind.isMemory,
      closed: closed)
  }

  /// The constant register, once.
  var value: UInt32 { mmio_load32(bar.address + constant) }

  func setMemory(_ on: Bool) { function.setCommand(PCIFunction.Command.memory, on) }
}
