// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
public import Seams

/// An open /dev/iommu. It holds the I/O address spaces and the devices of a VM (Linux
/// Documentation/userspace-api/iommufd.rst).
public final class IOMMUFD: Sendable {
  let descriptor: OwnedDescriptor

  /// The cause if /dev/iommu cannot be opened, or nil.
  public static var openingError: String? {
    do throws(VFIOError) {
      _ = try IOMMUFD()
      return nil
    } catch { return error.description }
  }

  /// Opens /dev/iommu.
  public convenience init() throws(VFIOError) {
    self.init(try Self.open())
  }

  /// Opens /dev/iommu.
  private static func open() throws(VFIOError) -> OwnedDescriptor {
    do throws(KernelError) { return try OwnedDescriptor(opening: "/dev/iommu", .readWrite) } catch {
      throw .noIOMMUFD(error)
    }
  }

  /// Opens /dev/iommu for another user. The kernel counts pinned memory by process, not by user
  /// (IOMMU_OPTION_RLIMIT_MODE), if this process has CAP_SYS_RESOURCE.
  public static func openForUser() throws(VFIOError) -> OwnedDescriptor {
    let descriptor = try open()
    let result = cl_iommu_count_by_process(descriptor.number)
    if result != -KernelError.notPermitted {
      do throws(KernelError) { try check(result, "IOMMU_OPTION_RLIMIT_MODE") } catch {
        throw .noIOMMUFD(error)
      }
    }
    return descriptor
  }

  /// Takes an open /dev/iommu.
  public init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

  /// Creates an I/O address space (IOMMU_IOAS_ALLOC).
  public func makeSpace() throws(VFIOError) -> IOAS {
    do throws(KernelError) {
      return IOAS(
        self, id: UInt32(try check(cl_ioas_alloc(descriptor.number), "IOMMU_IOAS_ALLOC")))
    } catch { throw .noIOMMUFD(error) }
  }
}

/// An I/O address space of iommufd (IOAS). The kernel removes it with its iommufd.
public final class IOAS: IOAddressSpace {
  private let iommufd: IOMMUFD
  /// The ID in the iommufd.
  let id: UInt32

  init(_ iommufd: IOMMUFD, id: UInt32) { (self.iommufd, self.id) = (iommufd, id) }

  /// Returns the present limits (IOMMU_IOAS_IOVA_RANGES). Each attached device may narrow the ranges. The number of
  /// mappings has no limit.
  public func limits() throws(OperationError) -> IOLimits {
    var ranges = [cl_iommu_iova_range](repeating: cl_iommu_iova_range(), count: 16)
    while true {
      let capacity = UInt32(ranges.count)
      // SAFETY: the buffer belongs to the array, lives for the call and has `capacity` elements.
      let result = unsafe ranges.withUnsafeMutableBufferPointer { buffer in
        unsafe cl_ioas_ranges(iommufd.descriptor.number, id, buffer.baseAddress, capacity)
      }
      let count = Int(try perform(result, "IOMMU_IOAS_IOVA_RANGES"))
      if count <= ranges.count {
        let usable = ranges.prefix(count).map { $0.start...max($0.start, $0.last) }
        return IOLimits(ranges: usable, mappings: .max)
      }
      ranges = [cl_iommu_iova_range](repeating: cl_iommu_iova_range(), count: count)
    }
  }

  /// True: the kernel refuses to map a BAR by its host virtual address (EFAULT).
  public var needsDMABuffers: Bool { true }

  /// Maps and pins RAM at a fixed IOVA (IOMMU_IOAS_MAP), or shares the pins of another space of the same iommufd
  /// (IOMMU_IOAS_COPY).
  ///
  /// - Parameters:
  ///   - iova: The IOVA. In a VM it equals the GPA.
  ///   - size: Bytes.
  ///   - host: Host virtual address.
  ///   - other: The space that has the same mapping, or nil.
  public func map(iova: UInt64, size: UInt64, host: UInt64, sharedWith other: IOAS?) throws(OperationError) {
    let text = "\(size) bytes at IOVA \(iova.hexadecimal)"
    if let other {
      try perform(
        cl_ioas_copy(iommufd.descriptor.number, other.id, id, iova, size), "IOMMU_IOAS_COPY \(text)")
    } else {
      try perform(cl_ioas_map(iommufd.descriptor.number, id, iova, size, host), "IOMMU_IOAS_MAP \(text)")
    }
  }

  /// Maps a window at a fixed IOVA (IOMMU_IOAS_MAP_FILE, Linux 6.19 for dma-bufs). The kernel revokes the mapping when
  /// the device's memory goes off. A revoked mapping stays until it is unmapped.
  public func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError) {
    guard case .dmaBuffer(let file) = window else {
      throw OperationError("IOMMU_IOAS_MAP_FILE: the interface maps only dma-bufs")
    }
    try perform(
      cl_ioas_map_file(iommufd.descriptor.number, id, iova, size, file),
      "IOMMU_IOAS_MAP_FILE \(size) bytes at IOVA \(iova.hexadecimal)")
  }

  /// Unmaps all mappings in a range (IOMMU_IOAS_UNMAP). The range must not split a mapping.
  ///
  /// - Returns: The number of bytes that were mapped.
  public func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64 {
    let result = cl_ioas_unmap(iommufd.descriptor.number, id, iova, size)
    // ENOENT: the range has no mapping.
    if result == -Int64(KernelError.noEntry) { return 0 }
    return UInt64(
      try perform(result, "IOMMU_IOAS_UNMAP \(size) bytes at IOVA \(iova.hexadecimal)"))
  }
}
