// SPDX-License-Identifier: Apache-2.0

internal import CLinux

extension Rule {
  private static let everyone = Set(ThreadKind.allCases)

  /// Every rule there is.
  public static let all: [Rule] = [
    // What the guest's CPUs and devices need.
    Rule(
      "ioctl", [.vcpu], "run the guest, and move windows and vectors when it asks",
      .requests([
        Request("KVM_RUN", IOC_KVM_RUN, "run the guest"),
        Request(
          "KVM_GET_REGS", IOC_KVM_GET_REGS, "say where the guest was in a fatal error", isContingent: true),
        Request(
          "KVM_GET_VCPU_EVENTS", IOC_KVM_GET_VCPU_EVENTS, "keep the other events when #UD is injected",
          isContingent: true),
        Request(
          "KVM_SET_VCPU_EVENTS", IOC_KVM_SET_VCPU_EVENTS,
          "inject #UD for an instruction that KVM cannot emulate",
          isContingent: true),
        Request("KVM_SET_USER_MEMORY_REGION", IOC_KVM_SET_USER_MEMORY_REGION, "open and close windows"),
        Request("KVM_SET_GSI_ROUTING", IOC_KVM_SET_GSI_ROUTING, "route a vector's message"),
        Request("KVM_IRQFD", IOC_KVM_IRQFD, "mask and unmask a vector"),
        Request(
          "VFIO_DEVICE_SET_IRQS", IOC_VFIO_DEVICE_SET_IRQS, "turn INTx, MSI, MSI-X and vectors on and off"),
        Request("VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "reset a function for the guest (FLR, D3hot)"),
        Request(
          "VFIO_IOMMU_MAP_DMA", IOC_VFIO_IOMMU_MAP_DMA,
          "let peers reach an open window; the same number is VFIO_DEVICE_PCI_HOT_RESET, a reset by the bus"),
        Request("VFIO_IOMMU_UNMAP_DMA", IOC_VFIO_IOMMU_UNMAP_DMA, "take a closing window from peers"),
      ])),
    Rule(
      "ioctl", [.device], "reset a device",
      .requests([
        Request("VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "for the guest, and for its next owner"),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "the same by a reset of its bus; the same number is VFIO_IOMMU_MAP_DMA", isContingent: true),
      ])),
    Rule(
      "ioctl", [.control], "close the gates, hand devices back and restore the terminal",
      .requests([
        Request("KVM_SET_USER_MEMORY_REGION", IOC_KVM_SET_USER_MEMORY_REGION, "close windows at the end"),
        Request("KVM_IRQFD", IOC_KVM_IRQFD, "take interrupts from a device that is lost", isContingent: true),
        Request("VFIO_DEVICE_SET_IRQS", IOC_VFIO_DEVICE_SET_IRQS, "turn interrupts off at the end"),
        Request(
          "VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "reset a device that the host wants back",
          isContingent: true),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "reset a bus with several devices of the VM; the same number is VFIO_IOMMU_MAP_DMA",
          isContingent: true),
        Request("VFIO_IOMMU_UNMAP_DMA", IOC_VFIO_IOMMU_UNMAP_DMA, "take windows from peers at the end"),
        Request("TCGETS", UInt(TCGETS), "part of tcsetattr"),
        Request("TCSETS", UInt(TCSETS), "restore the terminal"),
      ])),
    Rule(
      "ioctl", [.pin], "pin guest RAM",
      .requests([Request("VFIO_IOMMU_MAP_DMA", IOC_VFIO_IOMMU_MAP_DMA, "pin a piece of guest RAM")])),
    Rule("pread64", [.vcpu], "trapped reads of a device's registers and configuration space"),
    Rule("pwrite64", [.vcpu, .control], "trapped writes of them; memory and bus mastering off at the end"),
    Rule("pwrite64", [.device], "memory and bus mastering off after the reset at the start"),
    Rule("eventfd2", [.vcpu], "the eventfd of a vector that is used for the first time"),
    Rule("poll", [.vcpu, .pin], "wait for pinned RAM or the start; pending bits of masked vectors"),
    Rule("poll", [.device], "wait for the end of the VM"),
    Rule("read", [.vcpu, .control], "counts of eventfds; signals and the console's input"),
    Rule("write", everyone, "the console's output, eventfds, the trace and messages"),
    Rule("epoll_wait", [.control], "wait for signals, input and the end"),
    Rule("epoll_ctl", [.control], "leave input alone while the guest's serial port is full"),
    Rule("tgkill", [.vcpu, .control], "kick vCPUs out of KVM_RUN: to open a window, and at the end"),
    // What the C library and the Swift runtime need.
    Rule("futex", [.vcpu, .control], "locks, and the end of threads"),
    Rule("futex", [.pin, .device], "locks", isContingent: true),
    Rule("gettid", everyone, "Swift's Mutex, which is a priority-inheriting futex"),
    Rule("mmap", everyone, "malloc, when the heap grows", isContingent: true),
    Rule("munmap", [.control], "the machine's mappings at the end"),
    Rule("munmap", [.device], "a device's mappings when it is handed back"),
    Rule("munmap", [.vcpu, .pin], "malloc, when the heap shrinks", isContingent: true),
    Rule("mprotect", everyone, "malloc, when an arena grows", isContingent: true),
    Rule("madvise", [.vcpu, .device], "a thread's stack when it ends"),
    Rule(
      "madvise", [.pin],
      "populate guest RAM; give back the code that only the start has run; a thread's stack when it ends"),
    Rule("madvise", [.control], "give guest RAM back at the end"),
    Rule("brk", [.control], "malloc, when the heap grows", isContingent: true),
    Rule(
      "clock_gettime", everyone, "times, where the vDSO cannot read the host's clock source",
      isContingent: true),
    Rule("close", [.control], "what is open of the machine at the end; a device that the host wants back"),
    Rule("close", [.device], "hand a device back"),
    Rule("rt_sigreturn", [.vcpu], "come back from the kick, and from memory that is off (SIGBUS)"),
    Rule(
      "restart_syscall", [.vcpu, .pin, .device], "go on waiting after the process was stopped and continued",
      isContingent: true),
    Rule("rt_sigprocmask", [.vcpu, .pin, .device], "part of pthread_exit"),
    Rule("exit", [.vcpu, .pin, .device], "the end of a thread"),
    Rule("exit_group", [.control], "the end of the process"),
    Rule(
      "exit_group", [.vcpu, .pin, .device], "the end of the process by the C library", isContingent: true),
  ]

  /// The table as text: a line for each call of each kind of thread, and one for each request; `(contingent)`
  /// where that holds.
  public static func describe() -> String {
    var lines: [String] = []
    for kind in ThreadKind.allCases {
      lines.append("\(kind.rawValue):")
      for rule in all where rule.threads.contains(kind) {
        switch rule.condition {
        case .any: lines.append("  \(rule.call)\(mark(rule.isContingent))  # \(rule.reason)")
        case .requests(let requests):
          for request in requests {
            let number = String(request.number, radix: 16)
            lines.append(
              "  \(rule.call) \(request.name) 0x\(number)\(mark(request.isContingent))  # \(request.reason)")
          }
        }
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func mark(_ isContingent: Bool) -> String { isContingent ? " (contingent)" : "" }
}
