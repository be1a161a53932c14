// SPDX-License-Identifier: Apache-2.0

internal import CLinux

extension Rule {
  /// The rules for ioctl.
  static let requests: [Rule] = [
    Rule(
      "ioctl", [.vcpu], "run the guest; open and close windows and connect vectors for it",
      .requests([
        Request("KVM_RUN", IOC_KVM_RUN, "run the guest"),
        Request(
          "KVM_GET_REGS", IOC_KVM_GET_REGS, "read RIP for an emulation failure or a fatal error",
          isContingent: true),
        Request(
          "KVM_GET_VCPU_EVENTS", IOC_KVM_GET_VCPU_EVENTS, "keep other pending events when #UD is injected",
          isContingent: true),
        Request(
          "KVM_SET_VCPU_EVENTS", IOC_KVM_SET_VCPU_EVENTS,
          "inject #UD for an instruction that KVM cannot emulate", isContingent: true),
        Request("KVM_SET_USER_MEMORY_REGION", IOC_KVM_SET_USER_MEMORY_REGION, "open and close windows"),
        Request("KVM_SET_GSI_ROUTING", IOC_KVM_SET_GSI_ROUTING, "route the MSI message of a vector"),
        Request("KVM_IRQFD", IOC_KVM_IRQFD, "mask and unmask a vector"),
        Request(
          "VFIO_DEVICE_SET_IRQS", IOC_VFIO_DEVICE_SET_IRQS, "enable and disable INTx, MSI, MSI-X, vectors"),
        Request("VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "reset a function for the guest (FLR, D3hot)"),
        restoresTerminal,
      ])),
    Rule(
      "ioctl", [.device], "reset a device",
      .requests([
        Request("VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "reset a device at the start and at release"),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "reset a device by its bus; VFIO_IOMMU_MAP_DMA has the same number", isContingent: true),
        restoresTerminal,
      ])),
    Rule(
      "ioctl", [.control], "close the gates, release devices and restore the terminal",
      .requests([
        Request("KVM_SET_USER_MEMORY_REGION", IOC_KVM_SET_USER_MEMORY_REGION, "close windows at shutdown"),
        Request(
          "KVM_IRQFD", IOC_KVM_IRQFD, "disconnect an isolated or removed device; connect a port's interrupt",
          isContingent: true),
        Request(
          "KVM_SET_GSI_ROUTING", IOC_KVM_SET_GSI_ROUTING, "route the message of a port", isContingent: true),
        Request("VFIO_DEVICE_SET_IRQS", IOC_VFIO_DEVICE_SET_IRQS, "disable interrupts at shutdown"),
        Request(
          "VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "reset a device that the host requests",
          isContingent: true),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "reset a bus with several devices of the VM; VFIO_IOMMU_MAP_DMA has the same number",
          isContingent: true),
        Request(
          "TCGETS", UInt(TCGETS), "save the terminal's settings after a start in the background", on: 0,
          isContingent: true),
        Request("TCSETS", UInt(TCSETS), "restore the terminal; make it raw again after a stop", on: 0),
        Request("TIOCGPGRP", UInt(TIOCGPGRP), "check whether another process group has the terminal", on: 0),
      ])),
    Rule("ioctl", [.pin], "pin guest RAM", .requests([restoresTerminal])),
    Rule("ioctl", [.trace, .socket, .reader], "restore the terminal", .requests([restoresTerminal])),
  ]

  /// Returns a table with more rules. Requests of ioctl are added to the rule of the same threads.
  public static func adding(_ more: [Rule], to rules: [Rule]) -> [Rule] {
    let calls = more.filter { rule in if case .requests = rule.condition { false } else { true } }
    return calls
      + rules.map { rule in
        guard case .requests(let requests) = rule.condition else { return rule }
        let added = more.filter { $0.threads == rule.threads }.flatMap { one -> [Request] in
          if case .requests(let requests) = one.condition { requests } else { [] }
        }
        return Rule(
          rule.call, rule.threads, rule.reason, .requests(added + requests), isContingent: rule.isContingent)
      }
  }

  /// The rules for a type1 container.
  public static let type1: [Rule] = [
    hotplugType1,
    Rule(
      "ioctl", [.vcpu], "map windows for peers",
      .requests([
        Request(
          "VFIO_IOMMU_MAP_DMA", IOC_VFIO_IOMMU_MAP_DMA,
          "map an open window for peers; a bus reset (VFIO_DEVICE_PCI_HOT_RESET) has the same number"),
        Request("VFIO_IOMMU_UNMAP_DMA", IOC_VFIO_IOMMU_UNMAP_DMA, "unmap a closing window for peers"),
      ])),
    Rule(
      "ioctl", [.control], "unmap memory at shutdown",
      .requests([
        Request(
          "VFIO_IOMMU_UNMAP_DMA", IOC_VFIO_IOMMU_UNMAP_DMA,
          "unmap windows for peers and guest RAM at shutdown")
      ])),
    Rule(
      "ioctl", [.pin], "pin guest RAM",
      .requests([Request("VFIO_IOMMU_MAP_DMA", IOC_VFIO_IOMMU_MAP_DMA, "pin a piece of guest RAM")])),
  ]

  /// The rules for an I/O address space of iommufd.
  public static let iommufd: [Rule] = [
    hotplugIOMMUFD,
    Rule("close", [.vcpu], "close a dma-buf that is no longer kept", isContingent: true),
    Rule(
      "ioctl", [.vcpu], "map windows for peers, reset a bus for the guest",
      .requests([
        Request(
          "VFIO_DEVICE_FEATURE", IOC_VFIO_DEVICE_FEATURE, "export a window as a dma-buf", isContingent: true),
        Request(
          "IOMMU_IOAS_MAP_FILE", IOC_IOMMU_IOAS_MAP_FILE, "map an open window for peers", isContingent: true),
        Request(
          "IOMMU_IOAS_UNMAP", IOC_IOMMU_IOAS_UNMAP, "unmap a closing window for peers", isContingent: true),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "reset a function by its bus for the guest",
          isContingent: true),
      ])),
    Rule(
      "ioctl", [.device], "release a device", .requests([removesFile])),
    Rule(
      "ioctl", [.control], "unmap memory at shutdown",
      .requests([
        Request("IOMMU_IOAS_UNMAP", IOC_IOMMU_IOAS_UNMAP, "unmap guest RAM at shutdown"), removesFile,
      ])),
    Rule(
      "ioctl", [.pin], "pin guest RAM",
      .requests([
        Request("IOMMU_IOAS_MAP", IOC_IOMMU_IOAS_MAP, "pin a piece of guest RAM"),
        Request(
          "IOMMU_IOAS_COPY", IOC_IOMMU_IOAS_COPY, "share the pins of guest RAM with a second address space",
          isContingent: true),
      ])),
  ]

  private static let removesFile = Request(
    "KVM_SET_DEVICE_ATTR", IOC_KVM_SET_DEVICE_ATTR, "remove a device that is released from KVM")

  static let restoresTerminal = Request(
    "TCSETS", UInt(TCSETS), "restore the terminal when a fault ends the process", on: 0, isContingent: true)
}
