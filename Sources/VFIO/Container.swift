// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
public import Seams

/// A VFIO container with a type1v2 IOMMU: one I/O address space for all devices of a VM.
public final class Container: IOAddressSpace {
  let descriptor: OwnedDescriptor

  /// Opens /dev/vfio/vfio and checks its version.
  public convenience init() throws(VFIOError) { try self.init(Self.open()) }

  /// Opens /dev/vfio/vfio without a check.
  public static func open() throws(VFIOError) -> OwnedDescriptor {
    do throws(KernelError) { return try OwnedDescriptor(opening: "/dev/vfio/vfio", .readWrite) } catch {
      throw .noContainer(error)
    }
  }

  /// Creates a container from an open /dev/vfio/vfio and checks its version.
  public init(_ descriptor: consuming OwnedDescriptor) throws(VFIOError) {
    self.descriptor = descriptor
    let version = cl_vfio_number(self.descriptor.number, IOC_VFIO_GET_API_VERSION, 0)
    guard version == VFIO_API_VERSION else {
      throw .version(version)
    }
    guard
      cl_vfio_number(self.descriptor.number, IOC_VFIO_CHECK_EXTENSION, UInt(VFIO_TYPE1v2_IOMMU)) > 0
    else { throw .noType1 }
  }

  /// Sets the IOMMU type, after the first group is attached (VFIO_SET_IOMMU).
  func setIOMMU() throws(KernelError) {
    try check(
      cl_vfio_number(descriptor.number, IOC_VFIO_SET_IOMMU, UInt(VFIO_TYPE1v2_IOMMU)),
      "VFIO_SET_IOMMU type1v2")
  }

  /// False: a window is mapped by its host virtual address.
  public var needsDMABuffers: Bool { false }

  /// Maps a window for DMA. The kernel takes its pages from the mapping of the BAR.
  public func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError) {
    guard case .host(let host) = window else {
      throw OperationError("VFIO_IOMMU_MAP_DMA: the interface maps no dma-buf")
    }
    try map(iova: iova, size: size, host: host, sharedWith: nil)
  }

  /// Maps host memory for DMA (VFIO_IOMMU_MAP_DMA). RAM is pinned, for each container separately.
  ///
  /// - Parameters:
  ///   - iova: The IOVA. In a VM it equals the GPA.
  ///   - size: Bytes.
  ///   - host: Host virtual address.
  ///   - other: Unused.
  public func map(
    iova: UInt64, size: UInt64, host: UInt64, sharedWith other: Container?
  ) throws(OperationError) {
    try perform(
      cl_vfio_map_dma(descriptor.number, iova, size, host),
      "VFIO_IOMMU_MAP_DMA \(size) bytes at IOVA \(iova.hexadecimal)")
  }

  /// Unmaps all mappings in a range (VFIO_IOMMU_UNMAP_DMA). The range must not split a mapping.
  ///
  /// - Returns: The number of bytes that were mapped.
  public func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64 {
    UInt64(try perform(cl_vfio_unmap_dma(descriptor.number, iova, size), Self.unmapping(iova, size)))
  }

  private static func unmapping(_ iova: UInt64, _ size: UInt64) -> String {
    "VFIO_IOMMU_UNMAP_DMA \(size) bytes at IOVA \(iova.hexadecimal)"
  }

  /// Returns the limits of the container (VFIO_IOMMU_GET_INFO).
  public func limits() throws(OperationError) -> IOLimits {
    let info: InfoBuffer
    do throws(KernelError) {
      info = unsafe try InfoBuffer { buffer throws(KernelError) in
        // SAFETY: the buffer begins with the struct and has `count` bytes.
        try check(
          unsafe cl_vfio_iommu_info(
            descriptor.number, buffer.baseAddress?.assumingMemoryBound(to: vfio_iommu_type1_info.self),
            UInt32(buffer.count)), "VFIO_IOMMU_GET_INFO")
      }
    } catch { throw OperationError(error) }
    return IOLimits(info) { () -> String? in
      // A kernel without the parameter has the default limit.
      do throws(KernelError) { return try Sysfs.read(Self.parameter) } catch { return nil }
    }
  }

  private static let parameter = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"
  /// The default of dma_entry_limit: U16_MAX (Linux drivers/vfio/vfio_iommu_type1.c).
  static let defaultMappings = 65535
}

extension IOLimits {
  /// Decodes the kernel's answer: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE and VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL.
  ///
  /// - Parameters:
  ///   - info: The answer to VFIO_IOMMU_GET_INFO.
  ///   - readParameter: Reads the parameter of the module. It is called if the answer does not have the
  ///     number of mappings.
  init(_ info: InfoBuffer, readParameter: () -> String?) {
    let hasCapabilities = info.word(4) & UInt32(VFIO_IOMMU_INFO_CAPS) != 0
    // cap_offset follows argsz, flags and iova_pgsizes.
    func capability(_ id: Int32) -> Int? {
      hasCapabilities ? info.capability(UInt16(id), from: info.word(16)) : nil
    }
    var ranges: [ClosedRange<UInt64>] = []
    if let at = capability(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
      ranges = (0..<Int(info.word(at + 8))).map { index in
        let entry = at + 16 + index * 16
        return info.long(entry)...max(info.long(entry), info.long(entry + 8))
      }
    }
    let mappings: Int
    if let at = capability(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
      mappings = Int(info.word(at + 8))
    } else {
      mappings = readParameter().flatMap { Int($0) } ?? Container.defaultMappings
    }
    self.init(ranges: ranges, mappings: mappings)
  }
}

/// An IOMMU group that this process owns (VFIO_GROUP_SET_CONTAINER).
public final class Group: Sendable {
  /// The group's number, as in /dev/vfio/NUMBER.
  public let number: String
  private let descriptor: SharedDescriptor

  /// The open descriptor, for KVM's VFIO device.
  public var descriptorNumber: Int32 { descriptor.number }

  /// Opens a group and attaches it to a container.
  ///
  /// - Parameters:
  ///   - number: The group's number, as in /dev/vfio/NUMBER.
  ///   - device: The address of the device to open, for error messages.
  ///   - container: The container.
  ///   - isFirst: True if the container has no group yet.
  public convenience init(
    number: String, device: String, container: Container, isFirst: Bool
  ) throws(VFIOError) {
    try self.init(
      Self.open(number, device: device), number: number, device: device, container: container,
      isFirst: isFirst)
  }

  /// Opens a group without a check.
  ///
  /// - Parameters:
  ///   - number: The group's number, as in /dev/vfio/NUMBER.
  ///   - device: The address of the device to open, for error messages.
  public static func open(_ number: String, device: String) throws(VFIOError) -> OwnedDescriptor {
    do throws(KernelError) { return try OwnedDescriptor(opening: "/dev/vfio/\(number)", .readWrite) } catch {
      throw .group(device: device, group: number, error)
    }
  }

  /// Attaches an open group to a container.
  ///
  /// - Parameters:
  ///   - descriptor: The open /dev/vfio/NUMBER.
  ///   - number: The group's number.
  ///   - device: The address of the device to open, for error messages.
  ///   - container: The container.
  ///   - isFirst: True if the container has no group yet.
  public init(
    _ descriptor: consuming OwnedDescriptor, number: String, device: String, container: Container,
    isFirst: Bool
  ) throws(VFIOError) {
    self.number = number
    self.descriptor = SharedDescriptor(descriptor)
    let status: Int32
    do throws(KernelError) {
      status = try check(cl_vfio_group_status(self.descriptor.number), "VFIO_GROUP_GET_STATUS")
    } catch { throw .device(device, error) }
    guard UInt32(status) & UInt32(VFIO_GROUP_FLAGS_VIABLE) != 0 else {
      throw .notViable(device: device, group: number)
    }
    do throws(KernelError) {
      try check(
        cl_vfio_set_container(self.descriptor.number, container.descriptor.number),
        "VFIO_GROUP_SET_CONTAINER of group \(number)")
      if isFirst { try container.setIOMMU() }
    } catch  where error.errno == KernelError.notPermitted {
      throw .noIsolation(device: device, group: number, error)
    } catch { throw .device(device, error) }
  }

  /// Closes the group after its devices have been closed. Another process can then open it. Every later call fails with
  /// EBADF.
  public func close() { descriptor.close() }

  /// Returns the descriptor of a device of this group (VFIO_GROUP_GET_DEVICE_FD).
  ///
  /// - Parameters:
  ///   - address: The device's address on the host, such as `0000:01:00.0`.
  ///   - token: The VF token as text, or nil for none (Linux drivers/vfio/pci/vfio_pci_core.c,
  ///     vfio_pci_core_match).
  func device(_ address: String, token: String?) throws(KernelError) -> OwnedDescriptor {
    let name = token.map { "\(address) vf_token=\($0)" } ?? address
    // SAFETY: the string lives for the call.
    return OwnedDescriptor(
      owning: try check(
        unsafe cl_vfio_device_fd(descriptor.number, name), "VFIO_GROUP_GET_DEVICE_FD"))
  }
}
