// SPDX-License-Identifier: Apache-2.0

import Hardware

/// QEMU's edu device (QEMU's docs/specs/edu.rst).
struct Edu {
  let function: PCIFunction
  var bar: BAR

  /// Offsets of registers in BAR 0.
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

  /// The address of the device's internal memory in its DMA engine.
  static let memory: UInt64 = 0x4_0000
  /// The maximum number of bytes of a transfer. A longer transfer ends QEMU 7.2.
  static let longestTransfer: UInt64 = 2048
  private static let start: UInt64 = 1

  /// Returns the device that the command line names, or the first edu, or nil.
  static func find(_ commandLine: CommandLine) -> Edu? {
    guard
      let function = PCIBus.find(commandLine, where: { $0.vendor == 0x1234 && $0.device == 0x11E8 }),
      let bar = BAR.usable(function, 0)
    else { return nil }
    return Edu(function: function, bar: bar)
  }

  /// Sets bits of the interrupt status register.
  func raise(_ causes: UInt32) { mmio_store32(bar.address + Register.interruptRaise, causes) }

  func acknowledge(_ causes: UInt32) {
    mmio_store32(bar.address + Register.interruptAcknowledge, causes)
  }

  /// The interrupt status register.
  var causes: UInt32 { mmio_load32(bar.address + Register.interruptStatus) }

  /// Starts a transfer, which takes 100 ms.
  func begin(from source: UInt64, to destination: UInt64, _ size: UInt64, _ direction: Direction) {
    mmio_store64(bar.address + Register.source, source)
    mmio_store64(bar.address + Register.destination, destination)
    mmio_store64(bar.address + Register.count, size)
    mmio_store64(bar.address + Register.command, Self.start | direction.rawValue)
  }

  var isTransferring: Bool { mmio_load64(bar.address + Register.command) & Self.start != 0 }

  /// Runs a transfer. Returns false if it does not end within 5 s.
  func transfer(
    from source: UInt64, to destination: UInt64, _ size: UInt64, _ direction: Direction
  ) -> Bool {
    begin(from: source, to: destination, size, direction)
    return Time.wait(milliseconds: 5000) { !isTransferring }
  }
}
