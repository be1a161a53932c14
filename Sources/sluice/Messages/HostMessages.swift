// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import KVM
import Linux
import PCI
import Seams
import VMM

extension KVMError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .unavailable(let error) where error.errno == KernelError.noEntry:
      "turn on VT-x or SVM in the firmware, then type 'sudo modprobe kvm_intel' or 'sudo modprobe kvm_amd'"
    case .unavailable(let error) where error.isPermission:
      "type 'sudo usermod -aG kvm $USER' and log in again"
    case .unavailable(let error) where error.errno == KernelError.noDevice:
      "turn on VT-x or SVM in the firmware"
    case .unavailable: nil
    case .version: "use Linux 6.1 or newer"
    case .missing: "use Linux 6.1 or newer with in-kernel irqchip"
    }
  }
}

extension GuestMemory.AllocationError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .hugePages(let count, let kibibytes, _):
      "type 'echo \(count) | sudo tee /sys/kernel/mm/hugepages/hugepages-\(kibibytes)kB/nr_hugepages'"
    case .noHugePageSize(let kibibytes, _):
      "give another hugepages=, or boot the host with 'hugepagesz=\(kibibytes)K'"
    case .node:
      "type 'grep Mems_allowed_list /proc/self/status' for the allowed nodes, and give one of them with node="
    case .kernel: nil
    }
  }
}

extension MemoryPreparationError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .populate: "free memory on the host, or give a smaller --memory"
    case .pin(_, _?):
      "set LimitMEMLOCK=infinity in the systemd unit, or add '$USER - memlock unlimited' to "
        + "/etc/security/limits.d/sluice.conf and log in again, or run as root"
    case .pin(let error, nil): error.errno == KernelError.noMemory ? "give a smaller --memory" : nil
    }
  }
}

extension HostProblem: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .cpuCount: "give a smaller --cpus"
    case .processor(let processor, let vcpu):
      "type 'grep Cpus_allowed_list /proc/self/status' for the allowed processors, and give one of them "
        + "instead of --cpu-pin \(vcpu):\(processor)"
    case .memory, .untranslated: "give a smaller --memory"
    case .noNode(_, let online): "give node= one of \(online), or leave node= out"
    case .noNodes(let node): "leave node=\(node) out"
    case .nodeMemory(let node, _, _, _): "give a smaller --memory, or leave node=\(node) out"
    case .nodeHugePages(let node, let count, _, _, let pool):
      "type 'echo \(count) | sudo tee \(pool)/nr_hugepages', or leave node=\(node) out"
    case .transparentHugePagesOff(let path):
      "type 'echo madvise | sudo tee \(path)', or leave hugepages=thp out"
    case .noCdev: "use Linux 6.6 or newer with CONFIG_VFIO_DEVICE_CDEV, or leave --iommu out"
    case .noTransparentHugePages: "leave hugepages=thp out"
    case .reservedStart:
      "turn the device's legacy support off in the firmware, or use another device"
    case .reservedPage: "give smaller pages (--memory SIZE,hugepages=2M)"
    case .noHostDevices: "start the VM with a device of the host"
    case .alreadyAdded: "give another device"
    case .reservedMemory: "start the VM with the device, or use another device"
    case .portTooSmall: "start the VM with a larger --port-window"
    case .severalSpaces: "start the VM with the same peer-dma= for all devices"
    case .noWindowRoom: "give a smaller --port-window, fewer --ports or a smaller --memory"
    case .noRoom(_, let bar, _):
      bar.kind == .memory64 ? "give fewer devices or a smaller --memory" : "give fewer devices"
    }
  }
}
