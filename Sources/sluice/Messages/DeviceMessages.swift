// SPDX-License-Identifier: Apache-2.0

import Linux
import VFIO

extension VFIOError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .noContainer(let error) where error.errno == KernelError.noEntry: "type 'sudo modprobe vfio-pci'"
    case .noContainer(let error) where error.isPermission:
      "run as root, or type 'sudo chmod 0666 /dev/vfio/vfio'"
    case .noContainer: nil
    case .noIOMMUFD(let error) where error.errno == KernelError.noEntry:
      "use Linux 6.6 or newer with CONFIG_IOMMUFD, or leave --iommu out"
    case .noIOMMUFD(let error):
      error.isPermission ? "run as root, or type 'sudo chown $USER /dev/iommu'" : nil
    case .version, .noType1: "use Linux 6.1 or newer with CONFIG_VFIO_IOMMU_TYPE1"
    case .noDevice: "type 'sluice devices' to list them"
    case .notReady(_, let state): state.remedy
    case .group(let device, let group, let error): Self.remedy(device, group, error)
    case .notViable: "type 'sluice devices' to see the driver of each device"
    case .noDriver: "type 'sudo modprobe vfio-pci'"
    case .notBound: "type 'sudo dmesg | tail' for the kernel's reason"
    case .binding(_, let error): error.isPermission ? "run the command with sudo" : nil
    case .noIsolation:
      "type 'sudo dmesg | tail' for the reason; if interrupt remapping is missing, turn it on in the firmware, or "
        + "load vfio_iommu_type1 with allow_unsafe_interrupts=1 if you trust the guest; if the firmware "
        + "demands an RMRR for the device, turn off its legacy support in the firmware, or use another device"
    case .token(let device, _, _):
      "give '\(device),vf-token=UUID' with the UUID that the other process has set (QEMU: vf-token=UUID of "
        + "that device; DPDK: --vfio-vf-token; else: VFIO_DEVICE_FEATURE_PCI_VF_TOKEN)"
    case .noSpare: "remove the device and add it again"
    case .needlessToken: "leave vf-token= out"
    case .unknownToken: "give --iommu type1"
    case .held(_, let cdev, let group, _):
      "type 'sudo fuser -v /dev/vfio/devices/\(cdev) /dev/vfio/\(group)' to find the process"
    case .device: nil
    }
  }

  private static func remedy(_ device: String, _ group: String, _ error: KernelError) -> String? {
    switch error.errno {
    case KernelError.busy: "type 'sudo fuser -v /dev/vfio/\(group)' to find the process"
    case KernelError.noEntry: "type 'sudo sluice bind \(device)'"
    case _ where error.isPermission: "type 'sudo chown $USER /dev/vfio/\(group)'"
    default: nil
    }
  }
}

extension HostDevice.Readiness: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .ready, .bridge: nil
    case .bound(_?, let address): "type 'sudo sluice bind \(address)' to unbind it from that driver"
    case .bound(nil, let address): "type 'sudo sluice bind \(address)'"
    case .noGroup:
      "turn on the IOMMU in the firmware and boot the host with 'intel_iommu=on' or 'amd_iommu=on'"
    case .shared(_, let others):
      "type \(others.map { "'sudo sluice bind \($0.address)'" }.joined(separator: " and "))"
        + " to give the whole group to VFIO"
    }
  }
}
