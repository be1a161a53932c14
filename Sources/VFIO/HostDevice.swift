// SPDX-License-Identifier: Apache-2.0

public import Linux
internal import PCI

/// A PCI device of this host, as sysfs shows it now (Documentation/ABI/testing/sysfs-bus-pci). Every property
/// throws if sysfs cannot be read.
public struct HostDevice: Sendable {
  /// The domain, bus, device and function in the notation of sysfs: `0000:01:00.0`.
  public let address: String
  /// The mount point of sysfs, or another directory in tests.
  public let root: String

  private var directory: String { "\(root)/bus/pci/devices/\(address)" }

  /// Creates a device, or returns nil if the host has no device at that address.
  public init?(address: String, root: String = "/sys") throws(KernelError) {
    self.address = address
    self.root = root
    guard try attribute("vendor") != nil else { return nil }
  }

  /// Returns every PCI device of the host.
  public static func all(root: String = "/sys") throws(KernelError) -> [HostDevice] {
    try devices(Sysfs.list("\(root)/bus/pci/devices"), root: root)
  }

  /// Returns the devices of some addresses, without devices that no longer exist.
  private static func devices(_ addresses: [String], root: String) throws(KernelError) -> [HostDevice] {
    try addresses.map { address throws(KernelError) in try HostDevice(address: address, root: root) }
      .compactMap { $0 }
  }

  /// Returns the text of an attribute, or nil if the kernel has no such attribute for this device.
  private func attribute(_ name: String) throws(KernelError) -> String? {
    try Sysfs.present { () throws(KernelError) in try Sysfs.read("\(directory)/\(name)") }
  }

  private func number(_ name: String) throws(KernelError) -> UInt32 {
    guard let text = try attribute(name), text.hasPrefix("0x") else { return 0 }
    return UInt32(text.dropFirst(2), radix: 16) ?? 0
  }

  /// Returns the last component of a link's target, or nil if the device does not have the link. The kernel
  /// has a link exactly while its target exists.
  private func link(_ name: String) throws(KernelError) -> String? {
    try Sysfs.present { () throws(KernelError) in try Sysfs.link("\(directory)/\(name)") }
  }

  /// Vendor ID.
  public var vendor: UInt16 {
    get throws(KernelError) { UInt16(truncatingIfNeeded: try number("vendor")) }
  }
  /// Device ID.
  public var device: UInt16 {
    get throws(KernelError) { UInt16(truncatingIfNeeded: try number("device")) }
  }
  /// Class code: base class, subclass, programming interface.
  public var classCode: UInt32 { get throws(KernelError) { try number("class") } }
  /// The driver that is bound to the device, or nil if there is none.
  public var driver: String? { get throws(KernelError) { try link("driver") } }
  /// The number of the IOMMU group, or nil if no IOMMU isolates the device.
  public var group: String? { get throws(KernelError) { try link("iommu_group") } }
  /// The name of the IOMMU that translates the device's DMA, such as `dmar0`, or nil if there is none.
  public var iommu: String? { get throws(KernelError) { try link("iommu") } }
  /// The reset methods of the kernel for the device, best first (Linux 5.15 and newer).
  public var resetMethods: [String] {
    get throws(KernelError) { (try attribute("reset_method") ?? "").split(separator: " ").map(String.init) }
  }

  /// True if the device is a bridge to another bus, which stays with the host: header type 1 or 2 (PCI 3.0
  /// §6.1).
  ///
  /// The class does not decide: an NVSwitch or a non-transparent bridge has class 0680 and header type 0, and
  /// an ISA bridge has class 0601. A device whose header reads as all-ones is not a bridge.
  public var isBridge: Bool {
    get throws(KernelError) {
      let header =
        try Sysfs.present { () throws(KernelError) in
          try Sysfs.bytes("\(directory)/config", count: 64)
        } ?? []
      guard header.count > Self.headerType else { return [0x0604, 0x0607].contains(try classCode >> 8) }
      return [1, 2].contains(header[Self.headerType] & 0x7F)
    }
  }

  /// True if the function has a PCI Express capability (PCIe 6.0 §7.5.3).
  public var isExpress: Bool {
    get throws(KernelError) {
      let config =
        try Sysfs.present { () throws(KernelError) in
          try Sysfs.bytes("\(directory)/config", count: 256)
        } ?? []
      return CapabilityList.isExpress(config)
    }
  }

  private static let headerType = 0x0E

  /// True if a VFIO driver is bound to the device: vfio-pci or a variant such as mlx5-vfio-pci. Each VFIO
  /// driver registers a VFIO device (Documentation/ABI/testing/sysfs-devices-vfio-dev, Linux 6.1).
  public var hasVFIODriver: Bool {
    get throws(KernelError) {
      guard let driver = try driver else { return false }
      if driver == "vfio-pci" { return true }
      return try Sysfs.present { () throws(KernelError) in try Sysfs.list("\(directory)/vfio-dev") }?.isEmpty
        == false
    }
  }

  /// The name of the device's cdev in /dev/vfio/devices, such as `vfio0`, or nil if the kernel has none: it is older than
  /// Linux 6.6 or lacks CONFIG_VFIO_DEVICE_CDEV, or no VFIO driver is bound.
  public var cdev: String? {
    get throws(KernelError) {
      let names =
        try Sysfs.present { () throws(KernelError) in try Sysfs.list("\(directory)/vfio-dev") } ?? []
      // A kernel without cdevs has the folder, but no `dev` with the number of a node in it.
      for name in names where try attribute("vfio-dev/\(name)/dev") != nil { return name }
      return nil
    }
  }

  /// The addresses of all devices of the IOMMU group, including this device; empty if the group does not
  /// exist.
  public var groupMembers: [String] {
    get throws(KernelError) {
      guard let group = try group else { return [] }
      return try Sysfs.present { () throws(KernelError) in
        try Sysfs.list("\(root)/kernel/iommu_groups/\(group)/devices")
      } ?? []
    }
  }

  /// Host drivers that allow VFIO to own the DMA of their group (Linux `driver_managed_dma`:
  /// drivers/pci/pcie/portdrv.c, drivers/pci/pci-stub.c). VFIO drivers also allow it.
  private static let sharingDrivers: Set = ["pcieport", "pci-stub"]

  /// The other devices of the group that make it non-viable, each with its driver (Linux
  /// drivers/iommu/iommu.c, iommu_device_use_default_domain).
  public var blockers: [Blocker] {
    get throws(KernelError) {
      var blockers: [Blocker] = []
      for device in try Self.devices(groupMembers, root: root) where device.address != address {
        guard let driver = try device.driver, !Self.sharingDrivers.contains(driver),
          try !device.hasVFIODriver
        else { continue }
        blockers.append(Blocker(address: device.address, driver: driver))
      }
      return blockers
    }
  }

  /// The IOVA ranges of the device's group that VFIO does not map
  /// (Documentation/ABI/testing/sysfs-kernel-iommu_groups, reserved_regions). VFIO does map the type
  /// `direct-relaxable` (drivers/vfio/vfio_iommu_type1.c, vfio_iommu_resv_exclude).
  public var reservedAddresses: [ClosedRange<UInt64>] {
    get throws(KernelError) {
      guard let group = try group else { return [] }
      let text =
        try Sysfs.present { () throws(KernelError) in
          try Sysfs.read("\(root)/kernel/iommu_groups/\(group)/reserved_regions")
        } ?? ""
      return text.split(separator: "\n").compactMap { line in
        let fields = line.split(separator: " ")
        guard fields.count == 3, fields[2] != "direct-relaxable",
          let start = UInt64(fields[0].dropFirst(2), radix: 16),
          let end = UInt64(fields[1].dropFirst(2), radix: 16), start <= end
        else { return nil }
        return start...end
      }
    }
  }

  /// A BAR or the expansion ROM, with its size.
  public struct Resource: Sendable, Equatable {
    /// 0 to 5 for a BAR, 6 for the expansion ROM.
    public let index: Int
    /// Size in bytes.
    public let size: UInt64
    /// `io`, `mem32` or `mem64`, followed by ` prefetchable` if the BAR is prefetchable.
    public let kind: String
  }

  /// The BARs and the ROM that have a size, from the `resource` attribute (include/linux/ioport.h flags).
  public var resources: [Resource] {
    get throws(KernelError) { Self.resources(try attribute("resource") ?? "") }
  }

  private static func resources(_ text: String) -> [Resource] {
    text.split(separator: "\n").prefix(7).enumerated().compactMap { index, line in
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
