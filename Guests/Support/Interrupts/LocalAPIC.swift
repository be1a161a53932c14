// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The local APIC in xAPIC mode (Intel SDM volume 3, chapter 11).
enum LocalAPIC {
  private static let base: UInt64 = 0xFEE0_0000
  private static let identity = base + 0x20
  private static let spurious = base + 0xF0
  private static let commandLow = base + 0x300
  private static let commandHigh = base + 0x310
  private static let lineZero = base + 0x350

  /// Enables the calling processor's APIC and masks LINT0, the input from the 8259.
  static func enable() {
    mmio_store32(lineZero, 1 << 16)
    mmio_store32(spurious, 1 << 8 | UInt32(SPURIOUS_VECTOR))
  }

  /// The register with the version and the number of LVT entries.
  static var version: UInt32 { mmio_load32(base + 0x30) }

  /// The calling processor's APIC ID.
  static var id: UInt32 { mmio_load32(identity) >> 24 }

  /// Starts a processor by INIT and start-up IPI.
  static func startProcessor(_ id: UInt32, vector: UInt32) {
    send(id, 0x4500)  // INIT, assert
    Time.wait(milliseconds: 10)
    send(id, 0x4600 | vector)
    Time.wait(milliseconds: 1)
    send(id, 0x4600 | vector)
  }

  private static func send(_ id: UInt32, _ command: UInt32) {
    mmio_store32(commandHigh, id << 24)
    mmio_store32(commandLow, command)
    while mmio_load32(commandLow) & 1 << 12 != 0 { relax() }
  }

  /// Sends an interrupt to all processors except the calling one.
  static func interruptOthers(_ vector: UInt32) {
    mmio_store32(commandLow, 0xC4000 | vector)  // all excluding self, fixed, assert
  }

  /// Sends an SMI to the calling processor.
  static func interruptManagement() { send(id, 0x4200) }

  /// Returns the address of a message to a processor (Intel SDM volume 3 §11.11.1).
  static func messageAddress(_ id: UInt32) -> UInt64 { base | UInt64(id) << 12 }
}

/// Delays and timeouts, measured with the time stamp counter.
enum Time {
  /// An assumed rate, because the guest does not know the counter's rate. It is higher than the rate of
  /// existing processors, so that no wait is too short.
  private static let ticksPerMillisecond: UInt64 = 4_000_000

  static func wait(milliseconds: UInt64) {
    let start = time_stamp()
    while time_stamp() &- start < milliseconds * ticksPerMillisecond { relax() }
  }

  /// Waits until a condition holds. Returns false after a timeout in milliseconds.
  static func wait(milliseconds: UInt64, until condition: () -> Bool) -> Bool {
    let start = time_stamp()
    while !condition() {
      if time_stamp() &- start > milliseconds * ticksPerMillisecond { return false }
      relax()
    }
    return true
  }
}
