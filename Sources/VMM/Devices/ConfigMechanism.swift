// SPDX-License-Identifier: Apache-2.0

internal import Boot
internal import Synchronization

/// Configuration mechanism #1 (PCI 3.0 §3.2.2.3.2): an address register and a data register. The port bus
/// accesses configuration space itself, because such an access may fail.
final class ConfigMechanism: PortDevice {
  static let ports = [PlatformLayout.configAddress...PlatformLayout.configAddress, PlatformLayout.configData]

  /// CONFIG_ADDRESS. The guest uses it under a lock, with one vCPU at a time.
  private let address = Atomic<UInt32>(0)

  /// Returns the configuration space address, in the form of the ECAM, that a port of CONFIG_DATA accesses.
  /// Returns nil if CONFIG_ADDRESS is not enabled or the port does not belong to CONFIG_DATA.
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
