// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import PCI

/// A requirement of a VM that this host cannot meet.
public enum HostProblem: Error, Equatable, CustomStringConvertible {
  /// The part of guest RAM that must be resident.
  public enum Residence: Sendable {
    /// The pages that the guest touches.
    case touched
    /// All of guest RAM, because it is populated at the start.
    case populated
    /// All of guest RAM, because it is pinned for devices.
    case pinned
  }

  /// KVM supports fewer vCPUs.
  case cpuCount(Int, limit: Int)
  /// This process may not run on the host processor that is configured for a vCPU.
  case processor(Int, vcpu: Int)
  /// The host has less memory than the guest. Sizes are in bytes. The limit is the available memory if all of
  /// guest RAM must be resident, else the total memory.
  case memory(size: UInt64, limit: UInt64, Residence)
  /// The host does not have the NUMA node. `online` lists the host's nodes.
  case noNode(Int, online: String)
  /// The host's kernel does not support NUMA.
  case noNodes(Int)
  /// The NUMA node has less memory than the guest. Sizes are in bytes.
  case nodeMemory(Int, size: UInt64, limit: UInt64, Residence)
  /// The NUMA node has too few free huge pages. `pool` is the directory of its pool.
  case nodeHugePages(Int, count: UInt64, kibibytes: UInt64, free: UInt64, pool: String)
  /// Transparent huge pages are disabled. `path` is the file that enables them.
  case transparentHugePagesOff(path: String)
  /// The host's kernel does not support transparent huge pages.
  case noTransparentHugePages
  /// The host reserves IOVAs in the first MiB for the device's IOMMU group. A guest needs RAM there
  /// to start.
  case reservedStart(device: String, group: String, ClosedRange<UInt64>)
  /// The host reserves IOVAs in the page of guest RAM that contains the first MiB. The page size is
  /// in bytes.
  case reservedPage(device: String, group: String, ClosedRange<UInt64>, pageSize: UInt64)
  /// The IOMMU does not translate the addresses of a region of guest RAM. The size is in bytes.
  case untranslated(GuestAddress, size: UInt64)
  /// The kernel has no cdev for the device.
  case noCdev(String)
  /// A BAR does not fit in the address range for its kind.
  case noRoom(device: String, BAR, in: Range<UInt64>)
  /// The VM was started only with devices in other processes.
  case noHostDevices(String)
  /// The VM has the device already.
  case alreadyAdded(String)
  /// The host reserves IOVAs of the device's group that are in guest RAM.
  case reservedMemory(device: String, group: String, ClosedRange<UInt64>)
  /// The windows of a port are smaller than the device's BARs.
  case portTooSmall(device: String, slot: UInt8, needs: PortWindow, has: PortWindow)
  /// A device cannot be added to a VM with several I/O address spaces.
  case severalSpaces(String, Int)
  /// A window of a port does not fit. The size is in bytes, and the ranges are GPAs.
  case noWindowRoom(port: Int, size: UInt64, memory32: Range<UInt64>, memory64: Range<UInt64>)

  /// The subject and the cause.
  public var description: String {
    switch self {
    case .cpuCount(let count, let limit): "\(count) vCPUs: KVM on the host supports at most \(limit)"
    case .processor(let processor, let vcpu):
      "vCPU \(vcpu): this process may not run on processor \(processor) of the host"
    case .memory(let size, let limit, let residence):
      "guest RAM of \(size >> 20) MiB: \(Self.reason(residence))the host has \(limit >> 20) MiB"
        + (residence == .touched ? "" : " available")
    case .noNode(let node, let online): "NUMA node \(node): not present on the host (online: \(online))"
    case .noNodes(let node): "NUMA node \(node): the host's kernel does not support NUMA"
    case .nodeMemory(let node, let size, let limit, let residence):
      "guest RAM of \(size >> 20) MiB: \(Self.reason(residence))NUMA node \(node) has \(limit >> 20) MiB"
        + (residence == .touched ? "" : " available")
    case .nodeHugePages(let node, let count, let kibibytes, let free, _):
      "guest RAM of \(count) huge pages of \(kibibytes)K: NUMA node \(node) has \(free) free"
    case .transparentHugePagesOff(let path): "transparent huge pages: \(path): disabled on the host"
    case .noCdev(let device): "device \(device): the host's kernel has no cdev for it in /dev/vfio/devices"
    case .noTransparentHugePages: "transparent huge pages: not supported by the host's kernel"
    case .reservedStart(let device, let group, let range):
      "\(Self.reserved(device, group, range)), because the firmware requires them for the device (RMRR): "
        + "a guest needs RAM at these addresses to start"
    case .reservedPage(let device, let group, let range, let pageSize):
      "\(Self.reserved(device, group, range)) in the first page of guest RAM "
        + "(page size \(pageSize >> 20) MiB)"
    case .untranslated(let base, let size):
      "guest RAM at \(base), \(size) bytes: the IOMMU does not translate these addresses"
    case .noRoom(let device, let bar, let window):
      "device \(device): \(Self.name(bar)) \(Self.noRoomCause(bar, window))"
    case .noHostDevices(let device):
      "device \(device): the VM was started only with devices of vfio-user, and uses no IOMMU"
    case .alreadyAdded(let device): "device \(device): the VM has it already"
    case .reservedMemory(let device, let group, let range):
      "\(Self.reserved(device, group, range)), which are in guest RAM"
    case .portTooSmall(let device, let slot, let needs, let has):
      "device \(device): its BARs need windows of \(Self.text(needs)), and port \(slot) has \(Self.text(has))"
    case .severalSpaces(let device, let count):
      "device \(device): the policies of the VM's devices need \(count) I/O address spaces, and a device can only be "
        + "added to one"
    case .noWindowRoom(let port, let size, let memory32, let memory64):
      "port \(port): its window of \(size >> 20) MiB does not fit in the guest-physical addresses "
        + "\(Self.text(memory32)) and \(Self.text(memory64))"
    }
  }

  private static func reason(_ residence: Residence) -> String {
    switch residence {
    case .touched: ""
    case .populated: "all of it is populated at the start, but "
    case .pinned: "all of it is pinned for devices, but "
    }
  }

  private static func reserved(_ device: String, _ group: String, _ range: ClosedRange<UInt64>) -> String {
    "device \(device): the host reserves the IOVAs \(GuestAddress(range.lowerBound))–"
      + "\(GuestAddress(range.upperBound)) of IOMMU group \(group)"
  }

  private static func name(_ bar: BAR) -> String {
    let size = bar.size >= 1 << 20 ? "\(bar.size >> 20) MiB" : "\(bar.size) bytes"
    return "\(bar.kind == .rom ? "the ROM" : "BAR \(bar.index)") of \(size)"
  }

  private static func text(_ window: PortWindow) -> String {
    "\(window.memory32 >> 20) MiB below 4 GiB and \(window.memory64 >> 20) MiB above"
  }

  private static func text(_ range: Range<UInt64>) -> String {
    "\(GuestAddress(range.lowerBound))-\(GuestAddress(max(range.upperBound, 1) - 1))"
  }

  private static func noRoomCause(_ bar: BAR, _ window: Range<UInt64>) -> String {
    let range = text(window)
    return switch bar.kind {
    case .io: "does not fit beside the other BARs in the guest's I/O ports \(range)"
    case .memory32, .rom:
      "needs 32-bit addresses and does not fit beside the other BARs in \(range)"
    case .memory64:
      "does not fit in the guest-physical addresses \(range), which the processor and the IOMMU translate "
        + "above guest RAM"
    }
  }
}
