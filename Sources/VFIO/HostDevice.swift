// SPDX-License-Identifier: Apache-2.0

public import Linux

/// A PCI device of this host, as sysfs shows it (Documentation/ABI/testing/sysfs-bus-pci).
public struct HostDevice: Sendable {
  /// Domain, bus, device and function, as sysfs spells them: `0000:01:00.0`.
  public let address: String
  /// Where sysfs is mounted; another place in tests.
  public let root: String

  private var directory: String { "\(root)/bus/pci/devices/\(address)" }

  /// Looks a device up; nil where the host has none at that address.
  public init?(address: String, root: String = "/sys") {
    self.address = address
    self.root = root
    guard (try? Sysfs.read("\(directory)/vendor")) != nil else { return nil }  // absent: nil says so
  }

  /// Every PCI device of the host.
  public static func all(root: String = "/sys") throws(KernelError) -> [HostDevice] {
    try Sysfs.list("\(root)/bus/pci/devices").compactMap { HostDevice(address: $0, root: root) }
  }

  /// An attribute's text; nil where the kernel has no such attribute for this device.
  private func attribute(_ name: String) -> String? { try? Sysfs.read("\(directory)/\(name)") }

  private func number(_ name: String) -> UInt32 {
    guard let text = attribute(name), text.hasPrefix("0x") else { return 0 }
    return UInt32(text.dropFirst(2), radix: 16) ?? 0
  }

  /// Vendor ID.
  public var vendor: UInt16 { UInt16(truncatingIfNeeded: number("vendor")) }
  /// Device ID.
  public var device: UInt16 { UInt16(truncatingIfNeeded: number("device")) }
  /// Class code: base class, subclass, programming interface.
  public var classCode: UInt32 { number("class") }
  // The links are there exactly while there is something to point to.

  /// The driver that has the device; nil where there is none.
  public var driver: String? { try? Sysfs.link("\(directory)/driver") }
  /// The number of the IOMMU group; nil where no IOMMU isolates the device.
  public var group: String? { try? Sysfs.link("\(directory)/iommu_group") }
  /// The ways the kernel can reset it, best first (Linux 5.15 and newer).
  public var resetMethods: [String] {
    (attribute("reset_method") ?? "").split(separator: " ").map(String.init)
  }

  /// Whether it is a bridge, which stays with the host (header type 1).
  public var isBridge: Bool { classCode >> 16 == 0x06 }

  /// Every device of the same IOMMU group, this one included.
  public var groupMembers: [String] {
    guard let group else { return [] }
    // A group that went away meanwhile has no members.
    return (try? Sysfs.list("\(root)/kernel/iommu_groups/\(group)/devices")) ?? []
  }

  /// The devices of the same group that keep it from being viable: bound to a driver of the
  /// host, and not a bridge.
  public var blockers: [HostDevice] {
    groupMembers.filter { $0 != address }.compactMap { HostDevice(address: $0, root: root) }
      .filter { !$0.isBridge && $0.driver != nil && $0.driver != "vfio-pci" }
  }

  /// A BAR or the ROM (index 6) with its size; bytes.
  public struct Resource: Sendable, Equatable {
    /// 0 to 5, and 6 for the expansion ROM.
    public let index: Int
    /// Bytes.
    public let size: UInt64
    /// `io`, `mem32`, `mem64`, with ` prefetchable` where it is.
    public let kind: String
  }

  /// The BARs that have a size, from the `resource` attribute (include/linux/ioport.h flags).
  public var resources: [Resource] {
    guard let text = attribute("resource") else { return [] }
    return text.split(separator: "\n").prefix(7).enumerated().compactMap { index, line in
      let fields = line.split(separator: " ").compactMap { UInt64($0.dropFirst(2), radix: 16) }
      guard fields.count == 3, fields[2] != 0, fields[1] >= fields[0], fields[1] - fields[0] < .max
      else { return nil }
      let flags = fields[2]
      let width = flags & 0x0010_0000 != 0 ? "mem64" : "mem32"
      let kind = flags & 0x100 != 0 ? "io" : width + (flags & 0x2000 != 0 ? " prefetchable" : "")
      return Resource(index: index, size: fields[1] - fields[0] + 1, kind: kind)
    }
  }
}
