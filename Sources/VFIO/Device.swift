// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
public import Seams
internal import Synchronization

/// A device that this process owns through vfio-pci (struct vfio_device_info).
public final class Device: PCIDevice {
  /// The address on the host. It names the device in every message.
  public let address: String
  /// The regions, indexed by ``RegionIndex``; nil if the device does not have the region.
  private let regions: [Region?]
  /// True if VFIO_DEVICE_RESET works (VFIO_DEVICE_FLAGS_RESET).
  public let hasReset: Bool
  /// The functions that a bus reset resets, or nil if ``hasReset`` is true or the bus cannot be reset.
  public let busResetScope: [ResetDependent]?
  let descriptor: SharedDescriptor
  /// Called with the descriptor before it is closed. It removes other references to the file.
  private let willClose: @Sendable (Int32) -> Void
  /// The device as it is bound to an iommufd, or nil.
  private let bound: BoundDevice?
  /// Puts a new open file of the device into ``descriptor``, after the close of the last one.
  private let opener: @Sendable () throws(VFIOError) -> Void
  /// The proof that this process owns the functions of ``busResetScope``.
  enum ResetOwnership: Sendable {
    /// The VM's groups that have a function in the scope.
    case groups([Group])
    /// The iommufd to which the device is bound.
    case iommufd
  }
  let resetOwnership: ResetOwnership
  /// The interrupt kinds, indexed by VFIO_PCI_*_IRQ_INDEX.
  private let interrupts: [InterruptInfo]
  /// Taken by any thread for an 8-byte access and for a change. No lock is taken inside it.
  private let mappings = Mutex<[MappedArea]>([])
  let buffers = DMABuffers()

  /// An area of a BAR that is mapped into this process.
  private final class MappedArea: Sendable {
    let region: Int
    /// Bytes from the start of the BAR.
    let area: Range<UInt64>
    let mapping: Mapping

    init(_ region: Int, _ area: Range<UInt64>, _ mapping: consuming Mapping) {
      self.region = region
      self.area = area
      self.mapping = mapping
    }
  }

  /// Opens a device of a group and reads its regions.
  ///
  /// - Parameters:
  ///   - address: The device's address on the host, such as `0000:01:00.0`.
  ///   - group: The open group of the device.
  ///   - groups: All groups of the VM, for a bus reset.
  ///   - token: The VF token as text, or nil for none.
  public convenience init(
    address: String, group: Group, groups: [Group], token: String? = nil
  ) throws(VFIOError) {
    let descriptor: SharedDescriptor
    do throws(KernelError) {
      descriptor = SharedDescriptor(try group.device(address, token: token))
    } catch  where error.errno == KernelError.accessDenied {
      throw .token(device: address, isGiven: token != nil, error)
    } catch  where error.errno == KernelError.invalid && token != nil {
      throw .needlessToken(device: address, error)
    } catch { throw .device(address, error) }
    try self.init(address: address, descriptor, groups: groups) { () throws(VFIOError) in
      do throws(KernelError) { descriptor.replace(with: try group.device(address, token: token)) } catch {
        throw .device(address, error)
      }
    }
  }

  /// Reads the regions of a device that is bound to an iommufd and attached.
  ///
  /// - Parameters:
  ///   - device: The device.
  ///   - willOpen: Called with a descriptor before the device is bound by it. It must add the descriptor to KVM.
  ///   - willClose: Called with the descriptor before ``close()`` closes it. It must remove the descriptor from KVM,
  ///     whose reference to the file would otherwise keep the device open.
  public convenience init(
    _ device: BoundDevice, willOpen: @escaping @Sendable (Int32) throws(KernelError) -> Void,
    willClose: @escaping @Sendable (Int32) -> Void
  ) throws(VFIOError) {
    try self.init(
      address: device.address, device.descriptor, groups: nil, bound: device, willClose: willClose
    ) {
      () throws(VFIOError) in try device.bindSpare(willOpen)
    }
  }

  /// Reads the regions of an open device.
  ///
  /// - Parameters:
  ///   - address: The device's address on the host.
  ///   - descriptor: The open descriptor.
  ///   - groups: All groups of the VM, or nil if the device is bound to an iommufd.
  ///   - bound: The device as it is bound to an iommufd, or nil.
  ///   - willClose: Called with the descriptor before it is closed.
  ///   - opener: Puts a new open file of the device into the descriptor.
  private init(
    address: String, _ descriptor: SharedDescriptor, groups: [Group]?, bound: BoundDevice? = nil,
    willClose: @escaping @Sendable (Int32) -> Void = { _ in },
    opener: @escaping @Sendable () throws(VFIOError) -> Void
  ) throws(VFIOError) {
    (self.bound, self.opener) = (bound, opener)
    self.address = address
    self.descriptor = descriptor
    self.willClose = willClose
    do throws(KernelError) {
      var info = vfio_device_info()
      // SAFETY: the call fills in the struct.
      try check(
        unsafe cl_vfio_device_info(descriptor.number, &info), "VFIO_DEVICE_GET_INFO")
      hasReset = info.flags & UInt32(VFIO_DEVICE_FLAGS_RESET) != 0
      var regions: [Region?] = []
      for index in 0..<min(Int(info.num_regions), RegionIndex.config + 1) {
        regions.append(try Region(UInt32(index), of: descriptor.number))
      }
      self.regions = regions
      var interrupts: [InterruptInfo] = []
      for index in 0..<min(info.num_irqs, UInt32(VFIO_PCI_NUM_IRQS)) {
        interrupts.append(try InterruptInfo(index, of: descriptor.number))
      }
      self.interrupts = interrupts
      let scope = hasReset ? nil : try Self.busResetScope(descriptor.number)
      guard let groups else {
        resetOwnership = .iommufd
        // The kernel names the ID of a device in the iommufd; all-ones is a device of another owner.
        busResetScope = try scope?.map { one throws(KernelError) in
          ResetDependent(
            group: try HostDevice(address: one.address)?.group ?? "none", address: one.address,
            isOwned: one.owner != .max)
        }
        return
      }
      let reached = Set(scope?.map { String($0.owner) } ?? [])
      resetOwnership = .groups(groups.filter { reached.contains($0.number) })
      busResetScope = scope?.map { one in
        let group = String(one.owner)
        return ResetDependent(
          group: group, address: one.address, isOwned: groups.contains { $0.number == group })
      }
    } catch { throw .device(address, error) }
  }

  /// Creates a device from a descriptor, with known regions and interrupts.
  init(
    address: String, regions: [Region?], hasReset: Bool, interrupts: [InterruptInfo],
    descriptor: consuming OwnedDescriptor
  ) {
    (self.address, self.regions, self.hasReset) = (address, regions, hasReset)
    self.interrupts = interrupts
    (busResetScope, resetOwnership) = (nil, .groups([]))
    self.descriptor = SharedDescriptor(descriptor)
    willClose = { _ in }
    bound = nil
    opener = { () throws(VFIOError) in throw .noSpare(address) }
  }

  /// Returns a region (VFIO_DEVICE_GET_REGION_INFO), or nil if the device does not have it.
  public func region(_ index: Int) -> DeviceRegion? {
    guard index < regions.count, let region = regions[index] else { return nil }
    return DeviceRegion(size: region.size, mappable: region.mappable)
  }

  /// Returns the properties of an interrupt kind. The count is 0 if the device does not have the kind.
  public func interruptInfo(_ kind: InterruptKind) -> InterruptInfo {
    let index = Int(kind.index)
    return index < interrupts.count ? interrupts[index] : InterruptInfo(count: 0, isFixed: false)
  }

  /// Returns the offset of an access in the descriptor's file, or nil if it ends beyond the region.
  private func fileOffset(_ index: Int, _ offset: UInt64, _ width: Int) -> Int64? {
    guard index < regions.count, let start = regions[index]?.offset, let size = regions[index]?.size,
      offset <= size, UInt64(width) <= size - offset
    else { return nil }
    return Int64(start + offset)
  }

  /// Returns the host virtual address of an aligned 8-byte access, or nil if the bytes are not mapped.
  /// vfio-pci before Linux 6.11 splits an 8-byte access through the descriptor in two.
  private func mapped(_ index: Int, _ offset: UInt64, _ width: Int) -> UInt64? {
    guard width == 8, offset % 8 == 0 else { return nil }
    return mappings.withLock { mappings in
      for one in mappings where one.region == index && one.area.contains(offset) {
        return one.mapping.address + (offset - one.area.lowerBound)
      }
      return nil
    }
  }

  /// Reads 1, 2, 4 or 8 bytes of a region through the descriptor. An aligned 8-byte access to a mapped area
  /// uses the mapping.
  public func read(_ index: Int, offset: UInt64, width: Int) throws(OperationError) -> UInt64 {
    if let address = mapped(index, offset, width) {
      do throws(KernelError) { return try FaultTolerantAccess.load(address) } catch {
        throw OperationError(error)
      }
    }
    guard let fileOffset = fileOffset(index, offset, width) else {
      throw OperationError("read region \(index): the access ends beyond the region")
    }
    var value: UInt64 = 0
    // SAFETY: the call fills in the number.
    try perform(
      unsafe cl_pread_scalar(descriptor.number, fileOffset, UInt32(width), &value),
      "read region \(index) at \(offset.hexadecimal)")
    return value
  }

  /// Writes 1, 2, 4 or 8 bytes of a region through the descriptor. An aligned 8-byte access to a mapped area
  /// uses the mapping.
  public func write(
    _ index: Int, offset: UInt64, width: Int, _ value: UInt64
  ) throws(OperationError) {
    if let address = mapped(index, offset, width) {
      do throws(KernelError) { return try FaultTolerantAccess.store(address, value) } catch {
        throw OperationError(error)
      }
    }
    guard let fileOffset = fileOffset(index, offset, width) else {
      throw OperationError("write region \(index): the access ends beyond the region")
    }
    try perform(
      cl_pwrite_scalar(descriptor.number, fileOffset, UInt32(width), value),
      "write region \(index) at \(offset.hexadecimal)")
  }

  /// Reads up to `count` bytes of a region from its start.
  public func readAll(_ index: Int, count: Int) throws(OperationError) -> [UInt8] {
    guard index < regions.count, let region = regions[index] else { return [] }
    var bytes: [UInt8] = []
    let total = min(count, Int(clamping: region.size))
    do throws(KernelError) {
      while bytes.count < total {
        let more = try readBytes(
          descriptor.number, total - bytes.count, at: region.offset + UInt64(bytes.count))
        if more.isEmpty { break }
        bytes += more
      }
    } catch { throw OperationError(error) }
    return bytes
  }

  /// Maps an area of a BAR and returns its host virtual address. The address is congruent with the area's
  /// offset in the BAR.
  public func map(_ index: Int, _ area: Range<UInt64>) throws(OperationError) -> UInt64 {
    guard index < regions.count, let region = regions[index] else {
      throw OperationError("mmap region \(index): the device does not have this region")
    }
    let one: MappedArea
    do throws(KernelError) {
      one = MappedArea(
        index, area,
        try Mapping(
          descriptor: descriptor.number, offset: region.offset + area.lowerBound,
          size: area.upperBound - area.lowerBound, congruentWith: area.lowerBound))
    } catch { throw OperationError(error) }
    mappings.withLock { $0.append(one) }
    return one.mapping.address
  }

  /// Closes the device and opens it again, so that the kernel restores the registers that it saved at the first open. The
  /// mappings keep their addresses, and every interrupt is off.
  public func reopen() throws(OperationError) {
    let areas = mappings.withLock { $0 }
    do throws(KernelError) { for area in areas { try area.mapping.detach() } } catch {
      throw OperationError(error)
    }
    buffers.close()
    if isOpen { willClose(descriptor.number) }
    descriptor.close()
    do throws(VFIOError) { try opener() } catch { throw OperationError(error.description) }
    do throws(KernelError) {
      for area in areas {
        let start = regions[area.region]?.offset ?? 0
        try area.mapping.attach(descriptor: descriptor.number, offset: start + area.area.lowerBound)
      }
    } catch { throw OperationError(error) }
  }

  /// Unmaps the device and returns it to the kernel. Every later call fails with EBADF.
  public func close() {
    // The kernel can assign the device to another owner only after its mappings are unmapped.
    mappings.withLock { $0 = [] }
    buffers.close()
    if isOpen { willClose(descriptor.number) }
    descriptor.close()
    bound?.close()
  }

  /// False after ``close()``.
  public var isOpen: Bool { descriptor.number >= 0 }
}
