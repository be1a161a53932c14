// SPDX-License-Identifier: Apache-2.0

internal import PCI
public import Seams

/// Facts that are known before a device is assigned.
extension PCIDevice {
  /// The BARs that have mappable areas: size and areas, in bytes.
  public var mappableBARs: [(size: UInt64, areas: [Range<UInt64>])] {
    (0..<6).compactMap { region($0) }.filter { !$0.mappable.isEmpty }.map { ($0.size, $0.mappable) }
  }

  /// True if the function has a PCI Express capability. Reads configuration space.
  public func isExpress() throws(OperationError) -> Bool {
    CapabilityList.isExpress(try readAll(RegionIndex.config, count: 256))
  }
}
