// SPDX-License-Identifier: Apache-2.0

public import Linux

/// Why a device cannot be had or used through VFIO, and what to do about it.
public enum VFIOError: Error, CustomStringConvertible {
  /// /dev/vfio/vfio could not be opened.
  case noContainer(KernelError)
  /// The kernel's VFIO has another version or no type1v2 IOMMU.
  case unsupported(String)
  /// The host has no device at the address.
  case noDevice(String)
  /// The device is not in a state to be passed through.
  case notReady(String, HostDevice.Readiness)
  /// /dev/vfio/GROUP could not be opened.
  case group(device: String, group: String, KernelError)
  /// The kernel says that the group is not viable.
  case notViable(device: String, group: String)
  /// The vfio-pci driver is not loaded.
  case noDriver(String)
  /// Another driver took the device instead of vfio-pci.
  case notBound(String, driver: String?)
  /// A write to sysfs was refused.
  case binding(String, KernelError)
  /// VFIO_SET_IOMMU or VFIO_GROUP_SET_CONTAINER was refused with EPERM: the platform does not isolate the group.
  case noIsolation(device: String, group: String, KernelError)
  /// The owner of the physical function has set a VF token, and the VF was opened without it or with another one.
  case token(device: String, isGiven: Bool, KernelError)
  /// A VF token was given for a device whose physical function VFIO does not have.
  case needlessToken(device: String, KernelError)
  /// A request about a device failed.
  case device(String, KernelError)
  /// A request about the container failed.
  case container(KernelError)

  /// The device, the operation, the cause and the remedy, for a person.
  public var description: String {
    switch self {
    case .noContainer(let error) where error.errno == KernelError.noEntry:
      "\(error); VFIO is not loaded: type 'sudo modprobe vfio-pci'"
    case .noContainer(let error) where Self.isPermission(error):
      "\(error); this user may not use VFIO: run as root, or type 'sudo chmod 0666 /dev/vfio/vfio'"
    case .noContainer(let error): error.description
    case .unsupported(let what): "\(what); use Linux 6.1 or newer with CONFIG_VFIO_IOMMU_TYPE1"
    case .noDevice(let address):
      "device \(address): the host has no PCI device there; 'sluice devices' lists them"
    case .notReady(let address, let state): "device \(address) \(state)"
    case .group(let device, let group, let error) where error.errno == KernelError.busy:
      "device \(device): \(error); another process uses IOMMU group \(group): "
        + "'sudo fuser -v /dev/vfio/\(group)' names it"
    case .group(let device, let group, let error) where Self.isPermission(error):
      "device \(device): \(error); this user may not use IOMMU group \(group): type "
        + "'sudo chown $USER /dev/vfio/\(group)'"
    case .group(let device, let group, let error):
      "device \(device): \(error); IOMMU group \(group) is not there: type 'sluice bind \(device)'"
    case .notViable(let device, let group):
      "device \(device): VFIO_GROUP_GET_STATUS: IOMMU group \(group) is not viable because drivers of the "
        + "host have some of its devices; 'sluice devices' shows which"
    case .noDriver(let address):
      "device \(address): the driver vfio-pci is not loaded; type 'sudo modprobe vfio-pci'"
    case .notBound(let address, let driver):
      "device \(address): after binding its driver is \(driver ?? "none") and not vfio-pci; "
        + "'dmesg | tail' says why the kernel refused"
    case .binding(let address, let error) where Self.isPermission(error):
      "device \(address): \(error); this needs root: type it with sudo"
    case .binding(let address, let error): "device \(address): \(error)"
    case .noIsolation(let device, let group, let error):
      "device \(device): \(error): the platform does not isolate IOMMU group \(group); 'dmesg | tail' says whether "
        + "interrupt remapping is missing (turn it on in the firmware, or, if you trust the guest, load "
        + "vfio_iommu_type1 with allow_unsafe_interrupts=1) or the firmware demands an RMRR for the device (turn "
        + "its legacy support off in the firmware, or use another device)"
    case .token(let device, let isGiven, let error):
      "device \(device): \(error): \(isGiven ? "the VF token is not that" : "its physical function has a VF token") "
        + "of the process that has the physical function through VFIO, which sets it (QEMU: vf-token=UUID of that "
        + "device, DPDK: --vfio-vf-token, or VFIO_DEVICE_FEATURE_PCI_VF_TOKEN); give '\(device),vf-token=UUID' with the same UUID"
    case .needlessToken(let device, let error):
      "device \(device): \(error): VFIO has no physical function of it, so there is no VF token; leave vf-token= out"
    case .device(let address, let error): "device \(address): \(error)"
    case .container(let error) where error.errno == KernelError.noMemory:
      "\(error); the limit on locked memory is too low: type 'ulimit -l unlimited', or run as root"
    case .container(let error): error.description
    }
  }

  private static func isPermission(_ error: KernelError) -> Bool {
    error.errno == KernelError.accessDenied || error.errno == KernelError.notPermitted
  }
}
