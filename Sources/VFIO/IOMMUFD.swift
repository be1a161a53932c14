// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
internal import Synchronization
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

/// An I/O address space of this host. The set is closed, so that no call needs an existential.
public final class AddressSpace: IOAddressSpace {
  enum Kind: Sendable {
    case type1(Container)
    case iommufd(IOAS)
  }

  let kind: Kind

  /// Wraps a type1 container.
  public init(_ container: Container) { kind = .type1(container) }

  /// Wraps an I/O address space of iommufd.
  public init(_ space: IOAS) { kind = .iommufd(space) }

  /// Returns the present limits of mappings.
  public func limits() throws(OperationError) -> IOLimits {
    switch kind {
    case .type1(let container): try container.limits()
    case .iommufd(let space): try space.limits()
    }
  }

  /// True for iommufd.
  public var needsDMABuffers: Bool {
    switch kind {
    case .type1(let container): container.needsDMABuffers
    case .iommufd(let space): space.needsDMABuffers
    }
  }

  /// Maps guest RAM for the devices; see ``Container`` and ``IOAS``. All spaces of a VM have the same kind.
  public func map(
    iova: UInt64, size: UInt64, host: UInt64, sharedWith other: AddressSpace?
  ) throws(OperationError) {
    switch kind {
    case .type1(let container): try container.map(iova: iova, size: size, host: host, sharedWith: nil)
    case .iommufd(let space):
      var owner: IOAS?
      if case .iommufd(let first) = other?.kind { owner = first }
      try space.map(iova: iova, size: size, host: host, sharedWith: owner)
    }
  }

  /// Maps a window for the devices; see ``Container`` and ``IOAS``.
  public func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError) {
    switch kind {
    case .type1(let container): try container.map(iova: iova, size: size, window: window)
    case .iommufd(let space): try space.map(iova: iova, size: size, window: window)
    }
  }

  /// Unmaps all mappings in a range and returns the number of bytes that were mapped.
  public func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64 {
    switch kind {
    case .type1(let container): try container.unmapAll(iova: iova, size: size)
    case .iommufd(let space): try space.unmapAll(iova: iova, size: size)
    }
  }
}

/// A device that is opened by its cdev and bound to an iommufd.
public final class BoundDevice: Sendable {
  /// The address on the host.
  public let address: String
  private let cdev: String
  private let group: String
  let descriptor: SharedDescriptor
  /// Other open files of the cdev. The kernel binds a file only once.
  private let spares: Mutex<[SharedDescriptor]>
  /// The maximum number of other open files of a cdev. Each serves one error of the host after which the kernel has lost the
  /// device's registers.
  public static let spareLimit = 4

  /// The arguments of the last bind and attach. Taken for a short time. No lock is taken inside it.
  private let binding = Mutex<Binding>(Binding())

  private struct Binding {
    var iommufd: IOMMUFD?
    var token: [UInt8]?
    var space: IOAS?
  }

  /// The descriptor, for KVM's VFIO device.
  public var descriptorNumber: Int32 { descriptor.number }

  /// Opens the cdev of a device. The device cannot be used before ``bind(to:token:)``.
  ///
  /// - Parameters:
  ///   - address: The device's address on the host, such as `0000:01:00.0`.
  ///   - cdev: The name of the device's cdev, such as `vfio0`.
  ///   - group: The number of the device's IOMMU group, for error messages.
  ///   - spareCount: The number of times that the device can be opened again after an error of the host.
  public convenience init(address: String, cdev: String, group: String, spareCount: Int) throws(VFIOError) {
    let first = SharedDescriptor(try Self.open(cdev, of: address))
    var spares: [SharedDescriptor] = []
    for _ in 0..<spareCount { spares.append(SharedDescriptor(try Self.open(cdev, of: address))) }
    self.init(address: address, cdev: cdev, group: group, first, spares: spares)
  }

  /// Opens a cdev.
  ///
  /// - Parameters:
  ///   - cdev: The name of the cdev, such as `vfio0`.
  ///   - address: The device's address on the host, for error messages.
  public static func open(_ cdev: String, of address: String) throws(VFIOError) -> OwnedDescriptor {
    do throws(KernelError) {
      return try OwnedDescriptor(opening: "/dev/vfio/devices/\(cdev)", .readWrite)
    } catch { throw .device(address, error) }
  }

  /// Takes an open cdev.
  ///
  /// - Parameters:
  ///   - address: The address on the host.
  ///   - cdev: The name of the cdev, for error messages.
  ///   - group: The number of the IOMMU group, for error messages.
  ///   - descriptor: The open cdev.
  ///   - spares: Other open files of the cdev.
  public init(
    address: String, cdev: String, group: String, _ descriptor: SharedDescriptor, spares: [SharedDescriptor]
  ) {
    self.address = address
    self.cdev = cdev
    self.group = group
    self.descriptor = descriptor
    self.spares = Mutex(spares)
  }

  /// Binds a spare file as the first one was bound, which has been closed, and attaches the device to the same I/O address
  /// space.
  ///
  /// - Parameter willOpen: Called with the file before the bind.
  func bindSpare(_ willOpen: (Int32) throws(KernelError) -> Void) throws(VFIOError) {
    let file = spares.withLock { $0.popLast() }
    let binding = binding.withLock { $0 }
    guard let file, let iommufd = binding.iommufd, let space = binding.space else { throw .noSpare(address) }
    descriptor.replace(with: OwnedDescriptor(owning: file.release()))
    do throws(KernelError) { try willOpen(descriptor.number) } catch { throw .device(address, error) }
    try bind(to: iommufd, token: binding.token)
    try attach(to: space)
  }

  /// Binds the device to an iommufd (VFIO_DEVICE_BIND_IOMMUFD). The kernel opens and resets the device. KVM's VFIO
  /// device must have the descriptor before that, because the device takes its reference to the VM now.
  ///
  /// - Parameters:
  ///   - iommufd: The iommufd.
  ///   - token: The VF token, 16 bytes, or nil for none. It needs Linux 7.
  public func bind(to iommufd: IOMMUFD, token: [UInt8]?) throws(VFIOError) {
    do throws(KernelError) {
      let result: Int64
      if let token {
        // SAFETY: the bytes live for the call, which reads 16 of them.
        result = unsafe token.withUnsafeBufferPointer { buffer in
          unsafe cl_vfio_bind_iommufd(descriptor.number, iommufd.descriptor.number, buffer.baseAddress)
        }
      } else {
        result = cl_vfio_bind_iommufd(descriptor.number, iommufd.descriptor.number, nil)
      }
      try check(result, "VFIO_DEVICE_BIND_IOMMUFD")
      binding.withLock { ($0.iommufd, $0.token) = (iommufd, token) }
    } catch {
      switch error.errno {
      case KernelError.accessDenied: throw .token(device: address, isGiven: token != nil, error)
      case KernelError.invalid where token != nil:
        throw acceptsToken(iommufd)
          ? .needlessToken(device: address, error) : .unknownToken(device: address, error)
      // EBUSY: the group is open, or belongs to another iommufd. EINVAL: the cdev is bound (Linux
      // drivers/vfio/vfio_main.c, vfio_df_device_first_open and vfio_df_open).
      case KernelError.busy, KernelError.invalid:
        throw .held(device: address, cdev: cdev, group: group, error)
      default: throw .device(address, error)
      }
    }
  }

  /// Returns true if the kernel knows VF tokens in VFIO_DEVICE_BIND_IOMMUFD. It then reads the token and fails with
  /// EFAULT. Another kernel refuses the flag with EINVAL (Linux drivers/vfio/device_cdev.c).
  private func acceptsToken(_ iommufd: IOMMUFD) -> Bool {
    // SAFETY: only the kernel reads the address. The first page is never mapped.
    let result = unsafe cl_vfio_bind_iommufd(
      descriptor.number, iommufd.descriptor.number, UnsafePointer(bitPattern: 1))
    return result == -Int64(KernelError.fault)
  }

  /// True if the kernel exports the device's BARs as dma-bufs (VFIO_DEVICE_FEATURE_DMA_BUF, Linux 6.19 with
  /// CONFIG_PCI_P2PDMA). The device must be bound.
  public var exportsDMABuffers: Bool { cl_vfio_probe_dma_buf(descriptor.number) == 0 }

  /// Closes the device. The kernel releases it if no other file or mapping refers to it.
  public func close() {
    descriptor.close()
    spares.withLock { $0 = [] }
  }

  /// Attaches the device to an I/O address space (VFIO_DEVICE_ATTACH_IOMMUFD_PT).
  public func attach(to space: IOAS) throws(VFIOError) {
    do throws(KernelError) {
      try check(cl_vfio_attach_ioas(descriptor.number, space.id), "VFIO_DEVICE_ATTACH_IOMMUFD_PT")
      binding.withLock { $0.space = space }
    } catch { throw .device(address, error) }
  }
}
