// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Synchronization

/// Configuration mechanism #1 (PCI 3.0 §3.2.2.3.2): an address register, and a window to configuration space. The bus
/// reads and writes that itself, because it may fail.
final class ConfigMechanism: PortDevice {
  static let ports = [PlatformLayout.configAddress...PlatformLayout.configAddress, PlatformLayout.configData]

  /// CONFIG_ADDRESS. One guest CPU at a time uses it under the guest's own lock.
  private let address = Atomic<UInt32>(0)

  /// Returns the place in configuration space, as in the ECAM, that a port of CONFIG_DATA stands for, or nil if
  /// CONFIG_ADDRESS is not enabled or the port is another one.
  func target(_ port: UInt16) -> UInt64? {
    let address = address.load(ordering: .relaxed)
    guard PlatformLayout.configData.contains(port), address & 1 << 31 != 0 else { return nil }
    let byte = UInt64(port - PlatformLayout.configData.lowerBound)
    return UInt64(address >> 8 & 0xFFFF) << 12 | UInt64(address & 0xFC) | byte
  }

  func read(_ port: UInt16, width: Int) -> UInt64 {
    port == PlatformLayout.configAddress && width == 4 ? UInt64(address.load(ordering: .relaxed)) : .max
  }

  func write(_ port: UInt16, width: Int, _ value: UInt64) {
    guard port == PlatformLayout.configAddress, width == 4 else { return }
    address.store(UInt32(truncatingIfNeeded: value), ordering: .relaxed)
  }
}
