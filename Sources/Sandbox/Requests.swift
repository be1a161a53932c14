// SPDX-License-Identifier: Apache-2.0

internal import CLinux

extension Rule {
  /// The rules of ioctl.
  static let requests: [Rule] = [
    Rule(
      "ioctl", [.vcpu], "run the guest, and move windows and vectors when it asks",
      .requests([
        Request("KVM_RUN", IOC_KVM_RUN, "run the guest"),
        Request(
          "KVM_GET_REGS", IOC_KVM_GET_REGS, "where the guest is: not emulated instructions, fatal errors",
          isContingent: true),
        Request(
          "KVM_GET_VCPU_EVENTS", IOC_KVM_GET_VCPU_EVENTS, "keep the other events when #UD is injected",
          isContingent: true),
        Request(
          "KVM_SET_VCPU_EVENTS", IOC_KVM_SET_VCPU_EVENTS,
          "inject #UD for an instruction that KVM cannot emulate", isContingent: true),
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
        restoresTerminal,
      ])),
    Rule(
      "ioctl", [.device], "reset a device",
      .requests([
        Request("VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "for the guest, and for its next owner"),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "the same by a reset of its bus; the same number is VFIO_IOMMU_MAP_DMA", isContingent: true),
        restoresTerminal,
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
        Request(
          "TCGETS", UInt(TCGETS), "keep the terminal's settings, after a start in its background", on: 0,
          isContingent: true),
        Request("TCSETS", UInt(TCSETS), "restore the terminal; make it raw after a stop", on: 0),
        Request("TIOCGPGRP", UInt(TIOCGPGRP), "see if the terminal is another process group's", on: 0),
      ])),
    Rule(
      "ioctl", [.pin], "pin guest RAM",
      .requests([
        Request("VFIO_IOMMU_MAP_DMA", IOC_VFIO_IOMMU_MAP_DMA, "pin a piece of guest RAM"), restoresTerminal,
      ])),
    Rule("ioctl", [.trace], "restore the terminal", .requests([restoresTerminal])),
  ]

  private static let restoresTerminal = Request(
    "TCSETS", UInt(TCSETS), "restore the terminal when a fault ends the process", on: 0, isContingent: true)
}
