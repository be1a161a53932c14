// SPDX-License-Identifier: Apache-2.0

internal import Boot

/// The guest panic port (QEMU's pvpanic-isa, docs/specs/pvpanic.rst). It has one byte.
struct PanicPort: PortDevice {
  static let ports: [ClosedRange<UInt16>] = [0x505...0x505]
  static let platformDevice: PlatformDevice? = PlatformDevice(
    name: "PEVT", identity: "QEMU0001", ports: ports[0])

  let shutdown: ShutdownRequest

  /// Returns the conditions that a guest may report: a panic (bit 0).
  func read(_ port: UInt16, width: Int) -> UInt64 { 1 }

  func write(_ port: UInt16, width: Int, _ value: UInt64) {
    if value & 1 != 0 { shutdown.end(.panic) }
  }
}
