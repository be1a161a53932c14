// SPDX-License-Identifier: Apache-2.0

public import Linux

/// A reason why a device cannot be opened or used through VFIO.
public enum VFIOError: Error, Equatable, CustomStringConvertible {
  /// /dev/vfio/vfio could not be opened.
  case noContainer(KernelError)
  /// /dev/iommu could not be opened, or has no I/O address space.
  case noIOMMUFD(KernelError)
  /// The kernel's VFIO has another version (VFIO_GET_API_VERSION).
  case version(Int32)
  /// The kernel's VFIO has no type1v2 IOMMU (VFIO_CHECK_EXTENSION).
  case noType1
  /// The host has no device at the address.
  case noDevice(String)
  /// The device is not ready for passthrough.
  case notReady(String, HostDevice.Readiness)
  /// /dev/vfio/GROUP could not be opened.
  case group(device: String, group: String, KernelError)
  /// The kernel reports that the group is not viable.
  case notViable(device: String, group: String)
  /// The vfio-pci driver is not loaded.
  case noDriver(String)
  /// The device is bound to another driver, or to none, after binding it to vfio-pci.
  case notBound(String, driver: String?)
  /// An access to sysfs failed.
  case binding(String, KernelError)
  /// The kernel refused VFIO_SET_IOMMU or VFIO_GROUP_SET_CONTAINER with EPERM: the platform does not isolate
  /// the group.
  case noIsolation(device: String, group: String, KernelError)
  /// The owner of the physical function has set a VF token. The VF was opened without the token or with
  /// another one.
  case token(device: String, isGiven: Bool, KernelError)
  /// A VF token was given, but VFIO does not own a physical function of the device.
  case needlessToken(device: String, KernelError)
  /// The device cannot be opened again: no second open file of its cdev is left.
  case noSpare(String)
  /// The kernel does not know VF tokens in VFIO_DEVICE_BIND_IOMMUFD.
  case unknownToken(device: String, KernelError)
  /// The kernel refused VFIO_DEVICE_BIND_IOMMUFD: another process has the device open, by its cdev or by its group.
  case held(device: String, cdev: String, group: String, KernelError)
  /// A request about a device failed.
  case device(String, KernelError)

  /// The device, the operation and the cause.
  public var description: String {
    switch self {
    case .noContainer(let error) where error.errno == KernelError.noEntry: "\(error): VFIO is not loaded"
    case .noContainer(let error) where error.isPermission: "\(error): this user may not use VFIO"
    case .noContainer(let error): error.description
    case .noIOMMUFD(let error) where error.errno == KernelError.noEntry:
      "\(error): the kernel has no iommufd"
    case .noIOMMUFD(let error): error.description
    case .version(let version):
      "VFIO_GET_API_VERSION: the kernel has version \(version), Sluice needs 0"
    case .noType1: "VFIO_CHECK_EXTENSION: the kernel has no type1v2 IOMMU"
    case .noDevice(let address): "device \(address): the host has no PCI device there"
    case .notReady(let address, let state): "device \(address): \(state)"
    case .group(let device, let group, let error): "device \(device): \(error)\(Self.cause(group, error))"
    case .notViable(let device, let group):
      "device \(device): VFIO_GROUP_GET_STATUS: IOMMU group \(group) is not viable: some of its devices are "
        + "bound to drivers of the host"
    case .noDriver(let address): "device \(address): the driver vfio-pci is not loaded"
    case .notBound(let address, let driver?):
      "device \(address): bind: the kernel has bound \(driver) instead of vfio-pci"
    case .notBound(let address, nil): "device \(address): bind: the kernel has not bound vfio-pci"
    case .binding(let address, let error): "device \(address): \(error)"
    case .noIsolation(let device, let group, let error):
      "device \(device): \(error): the platform does not isolate IOMMU group \(group)"
    case .token(let device, let isGiven, let error):
      "device \(device): \(error): "
        + (isGiven
          ? "the VF token is not the token of the process that owns the physical function through VFIO"
          : "its physical function has a VF token, set by the process that owns it through VFIO")
    case .noSpare(let device): "device \(device): open again: no open file of its cdev is left"
    case .needlessToken(let device, let error):
      "device \(device): \(error): VFIO owns no physical function of the device, so there is no VF token"
    case .unknownToken(let device, let error):
      "device \(device): \(error): the kernel accepts no VF token there (Linux 7.0 is the first that does)"
    case .held(let device, let cdev, let group, let error):
      "device \(device): \(error): another process has the device open, by /dev/vfio/devices/\(cdev) or by "
        + "/dev/vfio/\(group)"
    case .device(let address, let error): "device \(address): \(error)"
    }
  }

  /// Returns the meaning of an error of open("/dev/vfio/GROUP").
  private static func cause(_ group: String, _ error: KernelError) -> String {
    switch error.errno {
    case KernelError.busy: ": another process uses IOMMU group \(group)"
    case KernelError.noEntry: ": VFIO has no IOMMU group \(group)"
    case _ where error.isPermission: ": this user may not use IOMMU group \(group)"
    default: ""
    }
  }
}
