// SPDX-License-Identifier: Apache-2.0

/// The optional debug exit port (QEMU's isa-debug-exit). A write by the guest ends the VM with the written
/// value.
struct DebugExit: PortDevice {
  static let ports: [ClosedRange<UInt16>] = [0xF4...0xF4]

  let shutdown: ShutdownRequest

  func read(_ port: UInt16, width: Int) -> UInt64 { .max }

  func write(_ port: UInt16, width: Int, _ value: UInt64) {
    shutdown.end(.debugExit(UInt32(truncatingIfNeeded: value) & UInt32.max >> UInt32(32 - width * 8)))
  }
}
