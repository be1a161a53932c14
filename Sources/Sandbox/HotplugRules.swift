// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The rules of the thread that opens and returns devices while the guest runs.
extension Rule {
  /// Calls for the descriptors of a device that is added, and for a device that has left its port.
  static let hotplug: [Rule] = [
    Rule("poll", [.hotplug], "wait for the start and for tasks"),
    Rule("read", [.hotplug], "read eventfd counters"),
    Rule("fstat", [.hotplug], "check the kind of a descriptor that a client has sent"),
    Rule(
      "fcntl", [.hotplug], "check a descriptor that a client has sent",
      .arguments([
        [Argument(1, .number(UInt64(F_GETFL)), "F_GETFL")],
        [Argument(1, .number(UInt64(F_SETFD)), "F_SETFD")],
        [Argument(1, .number(UInt64(CL_GET_SEALS)), "F_GET_SEALS")],
      ])),
    Rule("pread64", [.hotplug], "read the facts about an added device, and its registers"),
    Rule("pwrite64", [.hotplug], "initialize the registers of an added device"),
    Rule(
      "eventfd2", [.hotplug], "create the eventfds of an added device",
      .arguments([
        [
          Argument(0, .number(0), "count 0"),
          Argument(1, .number(UInt64(CL_EVENT_FLAGS)), "EFD_CLOEXEC|EFD_NONBLOCK"),
        ]
      ])),
    Rule(
      "mmap", [.hotplug], "map the memory of a device that is opened; allocate large blocks in malloc()",
      .arguments([
        [notExecutable, Argument(3, .number(UInt64(MAP_SHARED | MAP_FIXED)), "MAP_SHARED|MAP_FIXED")],
        [
          notExecutable,
          Argument(
            3, .number(UInt64(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED)),
            "MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_FIXED"),
        ], allocation,
      ])),
    Rule(
      "ioctl", [.hotplug], "open an added device, and return a device that has left its port",
      .requests([
        Request("VFIO_DEVICE_GET_INFO", IOC_VFIO_DEVICE_GET_INFO, "read the facts about an added device"),
        Request(
          "VFIO_DEVICE_GET_REGION_INFO", IOC_VFIO_DEVICE_GET_REGION_INFO, "read the facts about its BARs"),
        Request(
          "VFIO_DEVICE_GET_IRQ_INFO", IOC_VFIO_DEVICE_GET_IRQ_INFO, "read the facts about its interrupts"),
        Request(
          "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", IOC_VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
          "find the devices that a bus reset reaches; VFIO_IOMMU_GET_INFO has the same number"),
        Request(
          "VFIO_DEVICE_SET_IRQS", IOC_VFIO_DEVICE_SET_IRQS,
          "receive the host's notifications about an added device; disable the interrupts of a device that has left"
        ),
        Request(
          "VFIO_DEVICE_RESET", IOC_VFIO_DEVICE_RESET, "reset an added device and a device that has left",
          isContingent: true),
        Request(
          "VFIO_DEVICE_PCI_HOT_RESET", IOC_VFIO_DEVICE_PCI_HOT_RESET,
          "reset a device by its bus; VFIO_IOMMU_MAP_DMA, which pins guest RAM, has the same number",
          isContingent: true),
        Request(
          "VFIO_GET_API_VERSION", IOC_VFIO_GET_API_VERSION, "check a container that a client has sent",
          isContingent: true),
        Request(
          "VFIO_GROUP_GET_STATUS", IOC_VFIO_GROUP_GET_STATUS, "check a group that a client has sent",
          isContingent: true),
        Request("IOMMU_OPTION", IOC_IOMMU_OPTION, "check an iommufd or a container that a client has sent"),
        Request(
          "KVM_SET_DEVICE_ATTR", IOC_KVM_SET_DEVICE_ATTR,
          "make a group or a device known to KVM, or remove it"),
        Request("KVM_IRQFD", IOC_KVM_IRQFD, "connect the interrupt of a port", isContingent: true),
        Request(
          "KVM_SET_GSI_ROUTING", IOC_KVM_SET_GSI_ROUTING, "route the message of a port", isContingent: true),
        restoresTerminal,
      ])),
  ]

  /// The requests for groups in a type1 container.
  static let hotplugType1 = Rule(
    "ioctl", [.hotplug], "open groups",
    .requests([
      Request("VFIO_CHECK_EXTENSION", IOC_VFIO_CHECK_EXTENSION, "check a new container"),
      Request("VFIO_GROUP_SET_CONTAINER", IOC_VFIO_GROUP_SET_CONTAINER, "put a group into the container"),
      Request("VFIO_SET_IOMMU", IOC_VFIO_SET_IOMMU, "select the type1 IOMMU for the first group"),
      Request("VFIO_GROUP_GET_DEVICE_FD", IOC_VFIO_GROUP_GET_DEVICE_FD, "open a device"),
      Request("VFIO_IOMMU_UNMAP_DMA", IOC_VFIO_IOMMU_UNMAP_DMA, "unpin guest RAM after the last device"),
    ]))

  /// The requests for devices that are bound to an iommufd.
  static let hotplugIOMMUFD = Rule(
    "ioctl", [.hotplug], "bind devices",
    .requests([
      Request("VFIO_DEVICE_BIND_IOMMUFD", IOC_VFIO_DEVICE_BIND_IOMMUFD, "bind a device to the iommufd"),
      Request(
        "VFIO_DEVICE_ATTACH_IOMMUFD_PT", IOC_VFIO_DEVICE_ATTACH_IOMMUFD_PT,
        "attach a device to the I/O address space"),
      Request(
        "VFIO_DEVICE_FEATURE", IOC_VFIO_DEVICE_FEATURE, "check whether a device exports dma-bufs",
        isContingent: true),
      Request("IOMMU_IOAS_ALLOC", IOC_IOMMU_IOAS_ALLOC, "create the I/O address space of the first device"),
      Request("IOMMU_IOAS_IOVA_RANGES", IOC_IOMMU_IOAS_IOVA_RANGES, "read the IOVAs of the first device"),
      Request("IOMMU_IOAS_MAP", IOC_IOMMU_IOAS_MAP, "pin guest RAM for the first device"),
      Request("IOMMU_IOAS_UNMAP", IOC_IOMMU_IOAS_UNMAP, "unpin guest RAM after the last device"),
    ]))
}
