// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
internal import Synchronization

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
