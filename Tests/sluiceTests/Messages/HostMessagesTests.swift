// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import KVM
import Linux
import PCI
import Seams
import Testing
import VMM

@testable import sluice

@Suite struct HostMessagesTests {
  private static func kernel(_ errno: Int32) -> KernelError { KernelError("asked", errno: errno) }

  @Test(
    "an error of KVM has operation, cause and remedy",
    arguments: [
      (
        .unavailable(kernel(KernelError.noEntry)),
        "asked: No such file or directory: KVM is not loaded; turn on VT-x or SVM in the firmware, then type "
          + "'sudo modprobe kvm_intel' or 'sudo modprobe kvm_amd'"
      ),
      (
        .unavailable(kernel(KernelError.accessDenied)),
        "asked: Permission denied: this user may not use KVM; type 'sudo usermod -aG kvm $USER' and log in again"
      ),
      (
        .unavailable(kernel(KernelError.noDevice)),
        "asked: No such device: KVM has found no VT-x or SVM; turn on VT-x or SVM in the firmware"
      ),
      (.unavailable(kernel(KernelError.io)), "asked: Input/output error"),
      (
        .version(11),
        "KVM_GET_API_VERSION: the kernel has version 11, Sluice needs 12; use Linux 6.1 or newer"
      ),
      (
        .missing("KVM_CAP_IRQFD"),
        "KVM_CHECK_EXTENSION: this kernel's KVM lacks KVM_CAP_IRQFD; use Linux 6.1 or newer with in-kernel irqchip"
      ),
    ] as [(KVMError, String)])
  func system(_ error: KVMError, _ text: String) {
    #expect(RunError.system(error).message == text)
  }

  @Test(
    "guest RAM that cannot be created has subject, cause and remedy",
    arguments: [
      (
        .hugePages(count: 32, kibibytes: 2048, kernel(KernelError.noMemory)),
        "guest RAM of 32 huge pages of 2048K: asked: Cannot allocate memory; type 'echo 32 | sudo tee "
          + "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'"
      ),
      (
        .noHugePageSize(kibibytes: 1 << 20, kernel(KernelError.noDevice)),
        "guest RAM of huge pages of 1048576K: asked: No such device: the host has no huge pages of that size; give "
          + "another hugepages=, or boot the host with 'hugepagesz=1048576K'"
      ),
      (
        .node(7, kernel(KernelError.invalid)),
        "guest RAM of NUMA node 7: asked: Invalid argument: this process may not use that node; type 'grep "
          + "Mems_allowed_list /proc/self/status' for the allowed nodes, and give one of them with node="
      ),
      (.kernel(kernel(KernelError.noMemory)), "guest RAM: asked: Cannot allocate memory"),
    ] as [(GuestMemory.AllocationError, String)])
  func allocation(_ error: GuestMemory.AllocationError, _ text: String) {
    #expect(RunError.memory(error).message == text)
  }

  @Test(
    "guest RAM that cannot be populated or pinned has operation, cause and remedy",
    arguments: [
      (
        .populate(kernel(KernelError.noMemory)),
        "guest RAM cannot be populated: asked: Cannot allocate memory; free memory on the host, or give a smaller "
          + "--memory"
      ),
      (
        .pin(OperationError(kernel(KernelError.noMemory)), PinningLimit(bytes: 8 << 20, isPerUser: false)),
        "guest RAM cannot be pinned: asked: Cannot allocate memory: RLIMIT_MEMLOCK is 8192 KiB for this process; set "
          + "LimitMEMLOCK=infinity in the systemd unit, or add '$USER - memlock unlimited' to "
          + "/etc/security/limits.d/sluice.conf and log in again, or run as root"
      ),
      (
        .pin(OperationError(kernel(KernelError.noMemory)), PinningLimit(bytes: 1 << 20, isPerUser: true)),
        "guest RAM cannot be pinned: asked: Cannot allocate memory: RLIMIT_MEMLOCK is 1024 KiB for all processes of this "
          + "user together; set LimitMEMLOCK=infinity in the systemd unit, or add '$USER - memlock unlimited' to "
          + "/etc/security/limits.d/sluice.conf and log in again, or run as root"
      ),
      (
        .pin(OperationError(kernel(KernelError.noMemory))),
        "guest RAM cannot be pinned: asked: Cannot allocate memory; give a smaller --memory"
      ),
      (.pin(OperationError("no room")), "guest RAM cannot be pinned: no room"),
    ] as [(MemoryPreparationError, String)])
  func preparation(_ error: MemoryPreparationError, _ text: String) {
    #expect(RunError.preparation(error).message == text)
  }

  @Test(
    "a requirement that the host cannot meet has subject, cause and remedy",
    arguments: [
      (
        .cpuCount(200, limit: 64),
        "200 vCPUs: KVM on the host supports at most 64; give a smaller --cpus"
      ),
      (
        .processor(99, vcpu: 0),
        "vCPU 0: this process may not run on processor 99 of the host; type 'grep Cpus_allowed_list "
          + "/proc/self/status' for the allowed processors, and give one of them instead of --cpu-pin 0:99"
      ),
      (
        .memory(size: 3 << 40, limit: 4 << 30, .touched),
        "guest RAM of 3145728 MiB: the host has 4096 MiB; give a smaller --memory"
      ),
      (
        .memory(size: 3 << 30, limit: 2 << 30, .populated),
        "guest RAM of 3072 MiB: all of it is populated at the start, but the host has 2048 MiB available; give "
          + "a smaller --memory"
      ),
      (
        .memory(size: 3 << 30, limit: 2 << 30, .pinned),
        "guest RAM of 3072 MiB: all of it is pinned for devices, but the host has 2048 MiB available; give a "
          + "smaller --memory"
      ),
      (
        .noNode(9, online: "0-1"),
        "NUMA node 9: not present on the host (online: 0-1); give node= one of 0-1, or leave node= out"
      ),
      (.noNodes(9), "NUMA node 9: the host's kernel does not support NUMA; leave node=9 out"),
      (
        .nodeMemory(0, size: 2 << 30, limit: 1 << 30, .populated),
        "guest RAM of 2048 MiB: all of it is populated at the start, but NUMA node 0 has 1024 MiB available; give a "
          + "smaller --memory, or leave node=0 out"
      ),
      (
        .nodeHugePages(1, count: 101, kibibytes: 2048, free: 100, pool: "/pool"),
        "guest RAM of 101 huge pages of 2048K: NUMA node 1 has 100 free; type 'echo 101 | sudo tee "
          + "/pool/nr_hugepages', or leave node=1 out"
      ),
      (
        .transparentHugePagesOff(path: "/enabled"),
        "transparent huge pages: /enabled: disabled on the host; type 'echo madvise | sudo tee /enabled', or "
          + "leave hugepages=thp out"
      ),
      (
        .noTransparentHugePages,
        "transparent huge pages: not supported by the host's kernel; leave hugepages=thp out"
      ),
      (
        .reservedStart(device: "0000:01:00.0", group: "7", 0xE_8000...0xE_FFFF),
        "device 0000:01:00.0: the host reserves the IOVAs 0xe8000–0xeffff of IOMMU group 7, because the "
          + "firmware requires them for the device (RMRR): a guest needs RAM at these addresses to start; turn the "
          + "device's legacy support off in the firmware, or use another device"
      ),
      (
        .reservedPage(device: "0000:01:00.0", group: "7", 0x1000_0000...0x1000_0FFF, pageSize: 1 << 30),
        "device 0000:01:00.0: the host reserves the IOVAs 0x10000000–0x10000fff of IOMMU group 7 in the first "
          + "page of guest RAM (page size 1024 MiB); give smaller pages (--memory SIZE,hugepages=2M)"
      ),
      (
        .untranslated(GuestAddress(1 << 32), size: 4096),
        "guest RAM at 0x100000000, 4096 bytes: the IOMMU does not translate these addresses; give a smaller --memory"
      ),
      (
        .noRoom(device: "0000:01:00.0", BAR(index: 0, kind: .io, size: 256), in: 0x1000..<0x10000),
        "device 0000:01:00.0: BAR 0 of 256 bytes does not fit beside the other BARs in the guest's I/O ports "
          + "0x1000-0xffff; give fewer devices"
      ),
      (
        .noRoom(
          device: "0000:01:00.0", BAR(index: 6, kind: .rom, size: 2 << 20),
          in: 0xC000_0000..<0xE000_0000),
        "device 0000:01:00.0: the ROM of 2 MiB needs 32-bit addresses and does not fit beside the other BARs in "
          + "0xc0000000-0xdfffffff; give fewer devices"
      ),
      (
        .noRoom(
          device: "0000:01:00.0", BAR(index: 2, kind: .memory64, size: 1 << 40), in: 1 << 32..<1 << 39
        ),
        "device 0000:01:00.0: BAR 2 of 1048576 MiB does not fit in the guest-physical addresses "
          + "0x100000000-0x7fffffffff, which the processor and the IOMMU translate above guest RAM; give fewer "
          + "devices or a smaller --memory"
      ),
    ] as [(HostProblem, String)])
  func host(_ problem: HostProblem, _ text: String) {
    #expect(RunError.host(problem).message == text)
  }
}
