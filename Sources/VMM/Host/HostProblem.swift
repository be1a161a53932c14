// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import PCI

/// A demand of a VM that this host cannot meet.
public enum HostProblem: Error, Equatable, CustomStringConvertible {
  /// The amount of guest RAM that has to be in memory.
  public enum Residence: Sendable {
    /// The pages that the guest touches.
    case touched
    /// All of it, because it is populated at the start.
    case populated
    /// All of it, because devices reach it.
    case pinned
  }

  /// KVM takes fewer vCPUs.
  case cpuCount(Int, limit: Int)
  /// This process may not run on the processor that a vCPU is to stay on.
  case processor(Int, vcpu: Int)
  /// The host has less memory than the guest. Bytes; the limit is on available memory if all of it is resident.
  case memory(size: UInt64, limit: UInt64, Residence)
  /// The host does not have the NUMA node; `online` lists those that it has.
  case noNode(Int, online: String)
  /// The kernel does not know NUMA nodes.
  case noNodes(Int)
  /// The NUMA node has less memory than the guest. Bytes.
  case nodeMemory(Int, size: UInt64, limit: UInt64, Residence)
  /// The pool of the NUMA node has fewer free huge pages; `pool` is its directory.
  case nodeHugePages(Int, count: UInt64, kibibytes: UInt64, free: UInt64, pool: String)
  /// Transparent huge pages are off; `path` is the file that turns them on.
  case transparentHugePagesOff(path: String)
  /// The kernel does not have transparent huge pages.
  case noTransparentHugePages
  /// The host reserves I/O addresses in the first MiB, where a guest starts, for the device's IOMMU group.
  case reservedStart(device: String, group: String, ClosedRange<UInt64>)
  /// The host reserves I/O addresses in the page of guest RAM that has the first MiB. Bytes.
  case reservedPage(device: String, group: String, ClosedRange<UInt64>, pageSize: UInt64)
  /// The IOMMU does not translate a region of guest RAM. Bytes.
  case untranslated(GuestAddress, size: UInt64)
  /// A BAR does not fit in the addresses for it.
  case noRoom(device: String, BAR, in: Range<UInt64>)

  /// The subject and the cause.
  public var description: String {
    switch self {
    case .cpuCount(let count, let limit): "\(count) vCPUs: KVM on this machine takes \(limit)"
    case .processor(let processor, let vcpu):
      "vCPU \(vcpu): this process may not run on processor \(processor) of the host"
    case .memory(let size, let limit, let residence):
      "guest memory of \(size >> 20) MiB: \(Self.reason(residence))this machine has \(limit >> 20) MiB"
        + (residence == .touched ? "" : " available")
    case .noNode(let node, let online): "NUMA node \(node): this machine has no such node (online: \(online))"
    case .noNodes(let node): "NUMA node \(node): this machine's kernel knows no NUMA nodes"
    case .nodeMemory(let node, let size, let limit, let residence):
      "guest memory of \(size >> 20) MiB: \(Self.reason(residence))NUMA node \(node) has \(limit >> 20) MiB"
        + (residence == .touched ? "" : " available")
    case .nodeHugePages(let node, let count, let kibibytes, let free, _):
      "guest memory of \(count) huge pages of \(kibibytes)K: NUMA node \(node) has \(free) free"
    case .transparentHugePagesOff(let path): "transparent huge pages: \(path): they are off on this machine"
    case .noTransparentHugePages: "transparent huge pages: this machine's kernel has none"
    case .reservedStart(let device, let group, let range):
      "\(Self.reserved(device, group, range)), and a guest needs RAM there to start: the firmware demands them for "
        + "the device (RMRR)"
    case .reservedPage(let device, let group, let range, let pageSize):
      "\(Self.reserved(device, group, range)) in the page of \(pageSize >> 20) MiB from which a guest starts"
    case .untranslated(let base, let size):
      "guest RAM at \(base), \(size) bytes: the IOMMU does not translate these addresses"
    case .noRoom(let device, let bar, let window):
      "device \(device): \(Self.name(bar)) \(Self.place(bar, window))"
    }
  }

  private static func reason(_ residence: Residence) -> String {
    switch residence {
    case .touched: ""
    case .populated: "all of it is populated at the start, and "
    case .pinned: "all of it is pinned for devices, and "
    }
  }

  private static func reserved(_ device: String, _ group: String, _ range: ClosedRange<UInt64>) -> String {
    "device \(device): the host reserves the I/O addresses \(GuestAddress(range.lowerBound))–"
      + "\(GuestAddress(range.upperBound)) of IOMMU group \(group)"
  }

  private static func name(_ bar: BAR) -> String {
    let size = bar.size >= 1 << 20 ? "\(bar.size >> 20) MiB" : "\(bar.size) bytes"
    return "\(bar.kind == .rom ? "the ROM" : "BAR \(bar.index)") of \(size)"
  }

  private static func place(_ bar: BAR, _ window: Range<UInt64>) -> String {
    let range =
      "\(GuestAddress(window.lowerBound))-\(GuestAddress(max(window.upperBound, 1) - 1))"
    return switch bar.kind {
    case .io: "does not fit beside the others in the guest's I/O ports \(range)"
    case .memory32, .rom:
      "takes addresses of 32 bits and does not fit beside the others in \(range)"
    case .memory64:
      "does not fit in the guest-physical addresses \(range) that the processor and the IOMMU translate above "
        + "guest RAM"
    }
  }
}
