// SPDX-License-Identifier: Apache-2.0

internal import Boot

/// The sleep control and sleep status registers (ACPI 6.5 §4.8.3.7). The FADT has their addresses.
struct SleepControl: PortDevice {
  static let ports = [PlatformLayout.sleepControl...PlatformLayout.sleepStatus]

  let shutdown: ShutdownRequest

  func read(_ port: UInt16, width: Int) -> UInt64 { 0 }

  func write(_ port: UInt16, width: Int, _ value: UInt64) {
    guard port == PlatformLayout.sleepControl,
      UInt8(truncatingIfNeeded: value) == PlatformLayout.powerOffValue
    else { return }
    shutdown.end(.powerOff)
  }
}
