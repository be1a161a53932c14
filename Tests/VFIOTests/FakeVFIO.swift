// SPDX-License-Identifier: Apache-2.0

import CLinux
import CProbes
import Foundation
import Linux
import Synchronization

/// The kernel's side of VFIO for descriptors of regular files. This class answers requests. The file serves
/// reads, writes and mappings.
final class FakeVFIO: Sendable {
  struct State: Sendable {
    var version: Int32 = VFIO_API_VERSION
    var hasType1: Int32 = 1
    var groupFlags = UInt32(VFIO_GROUP_FLAGS_VIABLE)
    /// The device's regions by index: flags, size, offset and sparse areas.
    var regions: [UInt32: (flags: UInt32, size: UInt64, offset: UInt64, areas: [Range<UInt64>])] = [:]
    var deviceFlags = UInt32(VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI)
    var interrupts: [UInt32: (count: UInt32, flags: UInt32)] = [:]
    /// The number of vectors of the host.
    var vectors: UInt32 = 2048
    /// The group and the address (bus, device and function) of each function that a bus reset resets.
    var dependents: [(group: UInt32, bus: UInt8, devfn: UInt8)] = []
    /// The segment of these functions.
    var segment: UInt16 = 0
    var mappings: [UInt64: UInt64] = [:]
    /// Host virtual address and flags of the last mapping.
    var lastMapping: (host: UInt64, flags: UInt32)?
    /// The descriptors of the groups that the last bus reset named.
    var resetGroups: [Int32] = []
    /// The usable ranges of an I/O address space of iommufd.
    var ranges: [ClosedRange<UInt64>] = [0...0xFEDF_FFFF, 0xFEF0_0000...0x7F_FFFF_FFFF]
    /// The sizes of the dma-bufs by their descriptor.
    var buffers: [Int32: UInt64] = [:]
    /// The VF token of the last bind, or nil.
    var token: [UInt8]?
    /// False if the kernel does not know VF tokens.
    var acceptsTokens = true
    /// False if VFIO owns no physical function of the device.
    var hasPhysicalOwner = true
    /// True if another descriptor of the cdev is bound.
    var isBound = false
    /// The error numbers of requests that fail.
    var failing: [UInt: Int32] = [:]
    /// The calls: the request and its relevant numbers.
    var calls: [String] = []

    /// Removes every mapping that starts in a range. Returns the bytes that were mapped.
    mutating func unmap(_ start: UInt64, _ size: UInt64) -> UInt64 {
      let removed = mappings.filter { $0.key >= start && $0.key - start < size }
      for iova in removed.keys { mappings[iova] = nil }
      return removed.values.reduce(0, +)
    }
  }

  let state = Mutex(State())
  /// An unlinked file of zeros, and the path by which it can be opened again.
  private let file: OwnedDescriptor
  let path: String

  init() throws {
    let name = FileManager.default.temporaryDirectory.appending(path: "vfio-\(UUID().uuidString)")
    try Data(count: 1 << 20).write(to: name)
    file = try OwnedDescriptor(opening: name.path, .readWrite)
    try FileManager.default.removeItem(at: name)
    path = "/proc/self/fd/\(file.number)"
    Self.install
  }

  /// The kind of a descriptor. A container's requests have the same numbers as a device's (linux/vfio.h).
  enum Kind: Sendable { case container, group, device, iommufd }

  /// Opens a descriptor whose requests this fake kernel answers.
  func open(_ kind: Kind) throws -> OwnedDescriptor {
    let descriptor = try OwnedDescriptor(opening: path, .readWrite)
    let number = descriptor.number
    Self.kernels.withLock { $0[number] = (self, kind) }
    return descriptor
  }

  func fail(_ request: UInt, with errno: Int32?) { state.withLock { $0.failing[request] = errno } }

  /// Returns the calls since the previous call of this function.
  func takeCalls() -> [String] {
    state.withLock { state in
      defer { state.calls = [] }
      return state.calls
    }
  }

  /// The kernels, indexed by descriptor. A reused descriptor belongs to the newest kernel.
  private static let kernels = Mutex<[Int32: (kernel: FakeVFIO, kind: Kind)]>([:])

  private static let install: Void = {
    // SAFETY: the function has the parameters of ioctl(2).
    unsafe probe_take_ioctls { number, request, argument in
      // VFIO's requests have the type ';' (VFIO_TYPE). No other requests of this program have it.
      guard request >> 8 & 0xFF == 0x3B, let one = kernels.withLock({ $0[number] }) else { return .min }
      return unsafe one.kernel.answer(UInt(request), argument, one.kind)
    }
  }()

  private func answer(_ request: UInt, _ argument: UnsafeMutableRawPointer?, _ kind: Kind) -> Int32 {
    let number = UInt(bitPattern: argument)
    return state.withLock { state in
      if let errno = state.failing[request] { return -errno }
      switch request {
      case IOC_VFIO_GET_API_VERSION: return state.version
      case IOC_VFIO_CHECK_EXTENSION: return state.hasType1
      case IOC_VFIO_SET_IOMMU: state.calls.append("iommu \(number)")
      case IOC_VFIO_GROUP_SET_CONTAINER: state.calls.append("container")
      case IOC_VFIO_DEVICE_RESET: state.calls.append("reset")
      default:
        guard let argument = unsafe argument else { return -EFAULT }
        switch kind {
        case .container: return unsafe containerAnswer(request, argument, &state)
        case .iommufd: return unsafe iommufdAnswer(request, argument, &state)
        case .group, .device: return unsafe answer(request, argument, &state)
        }
      }
      return 0
    }
  }

  // SAFETY, for all of these: the caller passes the argument that the request expects (linux/vfio.h).
  private func answer(_ request: UInt, _ argument: UnsafeMutableRawPointer, _ state: inout State) -> Int32 {
    switch request {
    case IOC_VFIO_GROUP_GET_STATUS:
      unsafe argument.assumingMemoryBound(to: vfio_group_status.self).pointee.flags = state.groupFlags
    case IOC_VFIO_GROUP_GET_DEVICE_FD:
      state.calls.append(unsafe "device \(String(cString: argument.assumingMemoryBound(to: CChar.self)))")
      let number = unsafe Foundation.open(path, O_RDWR | O_CLOEXEC)
      Self.kernels.withLock { $0[number] = (self, .device) }
      return number
    case IOC_VFIO_DEVICE_GET_INFO:
      let info = unsafe argument.assumingMemoryBound(to: vfio_device_info.self)
      unsafe info.pointee.flags = state.deviceFlags
      unsafe info.pointee.num_regions = 9
      unsafe info.pointee.num_irqs = 5
    case IOC_VFIO_DEVICE_GET_REGION_INFO: return unsafe region(argument, state)
    case IOC_VFIO_DEVICE_GET_IRQ_INFO:
      let info = unsafe argument.assumingMemoryBound(to: vfio_irq_info.self)
      guard let one = unsafe state.interrupts[info.pointee.index] else { return -EINVAL }
      unsafe (info.pointee.count, info.pointee.flags) = (one.count, one.flags)
    case IOC_VFIO_DEVICE_SET_IRQS: return unsafe setInterrupts(argument, &state)
    case IOC_VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: return unsafe resetInfo(argument, state)
    case IOC_VFIO_DEVICE_BIND_IOMMUFD:
      let bind = unsafe argument.assumingMemoryBound(to: cl_vfio_bind.self)
      state.token = nil
      if unsafe bind.pointee.flags != 0 {
        guard state.acceptsTokens else { return -EINVAL }
        if unsafe bind.pointee.token_uuid_ptr < 4096 { return -EFAULT }
        if !state.hasPhysicalOwner { return -EINVAL }
      }
      if state.isBound { return -EINVAL }
      if unsafe bind.pointee.flags & UInt32(CL_VFIO_BIND_TOKEN) != 0 {
        let token = unsafe UnsafeRawPointer(bitPattern: UInt(bind.pointee.token_uuid_ptr))
        state.token = (0..<16).map { unsafe token?.load(fromByteOffset: $0, as: UInt8.self) ?? 0 }
      }
      state.calls.append("bind")
      unsafe bind.pointee.out_devid = 1
    case IOC_VFIO_DEVICE_ATTACH_IOMMUFD_PT:
      state.calls.append(
        "attach \(unsafe argument.assumingMemoryBound(to: cl_vfio_attach.self).pointee.pt_id)")
    case IOC_VFIO_DEVICE_FEATURE:
      let feature = unsafe argument.assumingMemoryBound(to: cl_vfio_dma_buf.self).pointee
      guard feature.feature & 0xFFFF == UInt32(CL_VFIO_FEATURE_DMA_BUF) else { return -ENOTTY }
      guard feature.feature & UInt32(VFIO_DEVICE_FEATURE_PROBE) == 0 else { return 0 }
      guard feature.nr_ranges == 1, feature.open_flags == UInt32(O_RDWR | O_CLOEXEC) else { return -EINVAL }
      let number = unsafe Foundation.open(path, O_RDWR | O_CLOEXEC)
      state.buffers[number] = feature.length
      state.calls.append("export \(feature.region_index) at \(feature.offset)")
      return number
    case IOC_VFIO_DEVICE_PCI_HOT_RESET:
      let reset = unsafe argument.assumingMemoryBound(to: vfio_pci_hot_reset.self)
      state.calls.append(unsafe "bus reset with \(reset.pointee.count) groups")
      state.resetGroups = (0..<Int(unsafe reset.pointee.count)).map { index in
        unsafe argument.loadUnaligned(fromByteOffset: 12 + index * 4, as: Int32.self)
      }
    default: return -ENOTTY
    }
    return 0
  }

  private func containerAnswer(
    _ request: UInt, _ argument: UnsafeMutableRawPointer, _ state: inout State
  ) -> Int32 {
    switch request {
    case IOC_VFIO_IOMMU_MAP_DMA:
      let map = unsafe argument.assumingMemoryBound(to: vfio_iommu_type1_dma_map.self)
      guard unsafe state.mappings[map.pointee.iova] == nil else { return -EEXIST }
      unsafe state.mappings[map.pointee.iova] = unsafe map.pointee.size
      state.lastMapping = unsafe (map.pointee.vaddr, map.pointee.flags)
    case IOC_VFIO_IOMMU_UNMAP_DMA:
      let unmap = unsafe argument.assumingMemoryBound(to: vfio_iommu_type1_dma_unmap.self)
      unsafe unmap.pointee.size = unsafe state.unmap(unmap.pointee.iova, unmap.pointee.size)
    case IOC_VFIO_IOMMU_GET_INFO:
      unsafe argument.assumingMemoryBound(to: vfio_iommu_type1_info.self).pointee.flags = 0
    default: return -ENOTTY
    }
    return 0
  }

  private func iommufdAnswer(
    _ request: UInt, _ argument: UnsafeMutableRawPointer, _ state: inout State
  ) -> Int32 {
    switch request {
    case IOC_IOMMU_IOAS_ALLOC:
      unsafe argument.assumingMemoryBound(to: cl_iommu_ioas_alloc.self).pointee.out_ioas_id = 5
    case IOC_IOMMU_IOAS_IOVA_RANGES:
      let query = unsafe argument.assumingMemoryBound(to: cl_iommu_ioas_iova_ranges.self)
      let room = Int(unsafe query.pointee.num_iovas)
      unsafe query.pointee.num_iovas = UInt32(state.ranges.count)
      guard room >= state.ranges.count else { return -EMSGSIZE }
      let ranges = unsafe UnsafeMutablePointer<cl_iommu_iova_range>(
        bitPattern: UInt(query.pointee.allowed_iovas))
      for (index, range) in state.ranges.enumerated() {
        unsafe ranges?[index] = cl_iommu_iova_range(start: range.lowerBound, last: range.upperBound)
      }
    case IOC_IOMMU_IOAS_MAP:
      let map = unsafe argument.assumingMemoryBound(to: cl_iommu_ioas_map.self).pointee
      guard map.ioas_id == 5, state.mappings[map.iova] == nil else { return -EEXIST }
      state.mappings[map.iova] = map.length
      state.lastMapping = (map.user_va, map.flags)
    case IOC_IOMMU_IOAS_MAP_FILE:
      let map = unsafe argument.assumingMemoryBound(to: cl_iommu_ioas_map_file.self).pointee
      guard state.mappings[map.iova] == nil else { return -EEXIST }
      guard let size = state.buffers[map.fd], map.start == 0, size == map.length else { return -EINVAL }
      state.mappings[map.iova] = map.length
      state.calls.append("map file with flags \(map.flags)")
    case IOC_IOMMU_IOAS_COPY:
      let copy = unsafe argument.assumingMemoryBound(to: cl_iommu_ioas_copy.self).pointee
      guard state.mappings[copy.src_iova] == copy.length, copy.src_iova == copy.dst_iova else {
        return -ENOENT
      }
      state.calls.append("copy \(copy.src_ioas_id) to \(copy.dst_ioas_id) with flags \(copy.flags)")
    case IOC_IOMMU_IOAS_UNMAP:
      let unmap = unsafe argument.assumingMemoryBound(to: cl_iommu_ioas_unmap.self)
      let done = unsafe state.unmap(unmap.pointee.iova, unmap.pointee.length)
      guard done > 0 else { return -ENOENT }
      unsafe unmap.pointee.length = done
    default: return -ENOTTY
    }
    return 0
  }

  private func region(_ argument: UnsafeMutableRawPointer, _ state: State) -> Int32 {
    let info = unsafe argument.assumingMemoryBound(to: vfio_region_info.self)
    guard let one = unsafe state.regions[info.pointee.index] else { return -EINVAL }
    unsafe (info.pointee.flags, info.pointee.size, info.pointee.offset) = (one.flags, one.size, one.offset)
    guard !one.areas.isEmpty else { return 0 }
    // A sparse-mmap capability after the structure: header, nr_areas, areas.
    let needed = UInt32(32 + 16 + one.areas.count * 16)
    let room = unsafe info.pointee.argsz
    unsafe info.pointee.argsz = needed
    guard room >= needed else { return 0 }
    unsafe info.pointee.flags |= UInt32(VFIO_REGION_INFO_FLAG_CAPS)
    unsafe info.pointee.cap_offset = 32
    unsafe argument.storeBytes(
      of: UInt16(VFIO_REGION_INFO_CAP_SPARSE_MMAP), toByteOffset: 32, as: UInt16.self)
    unsafe argument.storeBytes(of: UInt32(one.areas.count), toByteOffset: 40, as: UInt32.self)
    for (index, area) in one.areas.enumerated() {
      unsafe argument.storeBytes(of: area.lowerBound, toByteOffset: 48 + index * 16, as: UInt64.self)
      unsafe argument.storeBytes(
        of: area.upperBound - area.lowerBound, toByteOffset: 56 + index * 16, as: UInt64.self)
    }
    return 0
  }

  private func setInterrupts(_ argument: UnsafeMutableRawPointer, _ state: inout State) -> Int32 {
    let set = unsafe argument.assumingMemoryBound(to: vfio_irq_set.self).pointee
    var event: Int32 = -1
    if set.flags & UInt32(VFIO_IRQ_SET_DATA_EVENTFD) != 0 {
      event = unsafe argument.loadUnaligned(fromByteOffset: MemoryLayout<vfio_irq_set>.size, as: Int32.self)
    }
    if set.count > state.vectors { return Int32(state.vectors) }
    let action = set.flags & UInt32(VFIO_IRQ_SET_ACTION_UNMASK) != 0 ? "unmask" : "trigger"
    state.calls.append("\(action) \(set.index): \(set.start)+\(set.count) event \(event)")
    return 0
  }

  private func resetInfo(_ argument: UnsafeMutableRawPointer, _ state: State) -> Int32 {
    let info = unsafe argument.assumingMemoryBound(to: vfio_pci_hot_reset_info.self)
    guard !state.dependents.isEmpty else { return -ENODEV }
    let room = unsafe (Int(info.pointee.argsz) - 12) / 8
    unsafe info.pointee.count = UInt32(state.dependents.count)
    guard room >= state.dependents.count else { return -ENOSPC }
    for (index, one) in state.dependents.enumerated() {
      unsafe argument.storeBytes(of: one.group, toByteOffset: 12 + index * 8, as: UInt32.self)
      let location = UInt32(state.segment) | UInt32(one.bus) << 16 | UInt32(one.devfn) << 24
      unsafe argument.storeBytes(of: location, toByteOffset: 16 + index * 8, as: UInt32.self)
    }
    return 0
  }
}
