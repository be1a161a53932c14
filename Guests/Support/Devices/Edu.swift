// SPDX-License-Identifier: Apache-2.0

import Hardware

/// QEMU's edu device (QEMU's docs/specs/edu.rst).
struct Edu {
  let function: PCIFunction
  var bar: BAR

  /// Registers, as offsets in BAR 0.
  enum Register {
    static let identification: UInt64 = 0x00
    static let interruptStatus: UInt64 = 0x24
    static let interruptRaise: UInt64 = 0x60
    static let interruptAcknowledge: UInt64 = 0x64
    static let source: UInt64 = 0x80
    static let destination: UInt64 = 0x88
    static let count: UInt64 = 0x90
    static let command: UInt64 = 0x98
  }

  enum Direction: UInt64 {
    case toDevice = 0
    case toMemory = 2
  }

  /// Where the device has its own memory, as its DMA engine counts.
  static let memory: UInt64 = 0x4_0000
  /// Bytes that one transfer takes at most: more end QEMU 7.2.
  static let longestTransfer: UInt64 = 2048
  private static let start: UInt64 = 1

  /// The device that the command line names, or the first there is.
  static func find(_ commandLine: CommandLine) -> Edu? {
    guard
      let function = PCIBus.find(commandLine, where: { $0.vendor == 0x1234 && $0.device == 0x11E8 }),
      let bar = BAR.usable(function, 0)
    else { return nil }
    return Edu(function: function, bar: bar)
  }

  /// Adds causes to those for which it wants an interrupt.
  func raise(_ causes: UInt32) { mmio_store32(bar.address + Register.interruptRaise, causes) }

  func acknowledge(_ causes: UInt32) {
    mmio_store32(bar.address + Register.interruptAcknowledge, causes)
  }

  /// The causes for which it wants an interrupt.
  var causes: UInt32 { mmio_load32(bar.address + Register.interruptStatus) }

  /// Starts a transfer, which takes a tenth of a second.
  func begin(from source: UInt64, to destination: UInt64, _ size: UInt64, _ direction: Direction) {
    mmio_store64(bar.address + Register.source, source)
    mmio_store64(bar.address + Register.destination, destination)
    mmio_store64(bar.address + Register.count, size)
    mmio_store64(bar.address + Register.command, Self.start | direction.rawValue)
  }

  var isTransferring: Bool { mmio_load64(bar.address + Register.command) & Self.start != 0 }

  /// Runs one transfer; false when it does not end.
  func transfer(
    from source: UInt64, to destination: UInt64, _ size: UInt64, _ direction: Direction
  ) -> Bool {
    begin(from: source, to: destination, size, direction)
    return Time.wait(milliseconds: 5000) { !isTransferring }
  }
}
