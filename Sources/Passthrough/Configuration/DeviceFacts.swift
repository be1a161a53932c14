// SPDX-License-Identifier: Apache-2.0

public import Seams

/// Facts that are known before a device is assigned.
extension PCIDevice {
  /// The BARs that have mappable areas: size and areas, in bytes.
  public var mappableBARs: [(size: UInt64, areas: [Range<UInt64>])] {
    (0..<6).compactMap { region($0) }.filter { !$0.mappable.isEmpty }.map { ($0.size, $0.mappable) }
  }

  /// True if the function has a PCI Express capability. Reads configuration space, which is little-endian.
  public func isExpress() throws(OperationError) -> Bool {
    let config = try readAll(RegionIndex.config, count: 256)
    guard config.count == 256, config[0x06] & 0x10 != 0 else { return false }
    var at = Int(config[0x34] & ~3)
    // At most one capability for each 4 bytes after the header (PCI 3.0 §6.7).
    for _ in 0..<48 where at >= 0x40 {
      if config[at] == 0x10 { return true }
      at = Int(config[at + 1] & ~3)
    }
    return false
  }
}
