// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import Seams
import Synchronization
import Testing

@testable import VFIO

/// Containers, groups and devices of a fake kernel: requests, their order, errors and limits.
@Suite struct DeviceTests {
  private let kernel: FakeVFIO

  init() throws {
    kernel = try FakeVFIO()
    let mappable = UInt32(VFIO_REGION_INFO_FLAG_MMAP)
    kernel.state.withLock { state in
      state.regions = [
        0: (mappable, 0x4000, 0x1_0000, []),
        2: (mappable, 0x8000, 0x2_0000, [0..<0x2000, 0x3000..<0x8000]),
        4: (0, 32, 0x3_0000, []),
        7: (0, 256, 0, []),
      ]
      state.interrupts = [
        0: (1, 0), 1: (4, UInt32(VFIO_IRQ_INFO_NORESIZE)), 2: (16, 0), 4: (1, 0),
      ]
    }
  }

  // MARK: Containers and groups

  @Test("a container of another version or without type1v2 is refused")
  func containerRefused() throws {
    kernel.state.withLock { $0.version = 1 }
    #expect(throws: VFIOError.self) { try kernel.container() }
    kernel.state.withLock { ($0.version, $0.hasType1) = (0, 0) }
    #expect(throws: VFIOError.self) { try kernel.container() }
    kernel.state.withLock { $0.hasType1 = 1 }
    _ = try kernel.container()
  }

  @Test("only the first group of a container sets the IOMMU")
  func groups() throws {
    _ = try kernel.group()
    #expect(kernel.takeCalls() == ["container", "iommu \(VFIO_TYPE1v2_IOMMU)"])
    _ = try kernel.group(isFirst: false)
    #expect(kernel.takeCalls() == ["container"])
  }

  @Test("closes a group to which a closed device still refers")
  func groupClosed() throws {
    let group = try kernel.group()
    let device = try kernel.device([group])
    let number = group.descriptorNumber
    device.close()
    #expect(DescriptorFacts(number) != nil)
    group.close()
    #expect(DescriptorFacts(number) == nil && group.descriptorNumber == -1)
    #expect(throws: OperationError.self) { try device.reopen() }
  }

  @Test("the error names the cause for a group that is not viable, not isolated or refused")
  func groupRefused() throws {
    kernel.state.withLock { $0.groupFlags = 0 }
    let viable = #expect(throws: VFIOError.self) { try kernel.group() }
    #expect(viable?.description.contains("not viable") == true)
    kernel.state.withLock { $0.groupFlags = UInt32(VFIO_GROUP_FLAGS_VIABLE) }
    kernel.fail(IOC_VFIO_SET_IOMMU, with: KernelError.notPermitted)
    let isolated = #expect(throws: VFIOError.self) { try kernel.group() }
    #expect(isolated?.description.contains("does not isolate IOMMU group 7") == true)
    kernel.fail(IOC_VFIO_SET_IOMMU, with: nil)
    for request in [IOC_VFIO_GROUP_SET_CONTAINER, IOC_VFIO_GROUP_GET_STATUS] {
      kernel.fail(request, with: KernelError.busy)
      let refused = #expect(throws: VFIOError.self) { try kernel.group() }
      #expect(refused?.description.hasPrefix("device \(FakeVFIO.address): VFIO_GROUP_") == true)
      kernel.fail(request, with: nil)
    }
  }

  @Test("mappings are added and removed, and an error names the request and the address")
  func mappings() throws {
    let container = try kernel.container()
    try container.map(iova: 0x1000, size: 0x2000, host: 0x7000, sharedWith: nil)
    let error = #expect(throws: OperationError.self) {
      try container.map(iova: 0x1000, size: 1, host: 0, sharedWith: nil)
    }
    #expect(error?.errno == 17)
    #expect(error?.description.hasPrefix("VFIO_IOMMU_MAP_DMA 1 bytes at IOVA 0x1000: ") == true)
    #expect(try container.unmapAll(iova: 0, size: 0x10000) == 0x2000)
    #expect(try container.unmapAll(iova: 0, size: 0x10000) == 0)
    kernel.fail(IOC_VFIO_IOMMU_UNMAP_DMA, with: KernelError.noMemory)
    #expect(throws: OperationError.self) { try container.unmapAll(iova: 0, size: 1) }
    #expect(try container.limits().ranges.isEmpty)
    kernel.fail(IOC_VFIO_IOMMU_GET_INFO, with: KernelError.invalid)
    #expect(throws: OperationError.self) { try container.limits() }
  }

  // MARK: Opening

  @Test("regions and interrupts match the kernel's answers, and unknown ones are absent")
  func facts() throws {
    let device = try kernel.device()
    #expect(kernel.takeCalls().last == "device \(FakeVFIO.address)")
    #expect(device.address == FakeVFIO.address && device.hasReset && device.isOpen)
    #expect(device.busResetScope == nil, "the device has a function reset")
    #expect(device.region(0)?.size == 0x4000)
    #expect(device.region(0)?.mappable == [0..<0x4000])
    #expect(device.region(2)?.mappable == [0..<0x2000, 0x3000..<0x8000])
    #expect(device.region(4)?.mappable == [])
    #expect(device.region(1) == nil && device.region(6) == nil && device.region(8) == nil)
    #expect(device.interruptInfo(.msi).count == 4 && device.interruptInfo(.msi).isFixed)
    #expect(device.interruptInfo(.msix).count == 16 && !device.interruptInfo(.msix).isFixed)
    #expect(device.interruptInfo(.error).count == 0, "EINVAL: it is not PCI Express")
    #expect(device.interruptInfo(.request).count == 1)
  }

  @Test("a VF token is passed to the kernel, and the error depends on it")
  func token() throws {
    _ = try kernel.device(token: "1-2")
    #expect(kernel.takeCalls().last == "device \(FakeVFIO.address) vf_token=1-2")
    let request = IOC_VFIO_GROUP_GET_DEVICE_FD
    func refusal(_ errno: Int32, _ token: String?) -> String {
      kernel.fail(request, with: errno)
      let error = #expect(throws: VFIOError.self) { try kernel.device(token: token) }
      return error?.description ?? ""
    }
    #expect(refusal(KernelError.accessDenied, nil).contains("its physical function has a VF token"))
    #expect(refusal(KernelError.accessDenied, "1").contains("the VF token is not the token"))
    #expect(refusal(KernelError.invalid, "1").contains("there is no VF token"))
    #expect(refusal(KernelError.invalid, nil).contains("VFIO_GROUP_GET_DEVICE_FD"))
  }

  @Test(
    "the error names the request that failed while the device was opened",
    arguments: [
      "VFIO_DEVICE_GET_INFO", "VFIO_DEVICE_GET_REGION_INFO", "VFIO_DEVICE_GET_IRQ_INFO",
      "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO",
    ])
  func factsFail(_ name: String) throws {
    let requests = [
      "VFIO_DEVICE_GET_INFO": IOC_VFIO_DEVICE_GET_INFO,
      "VFIO_DEVICE_GET_REGION_INFO": IOC_VFIO_DEVICE_GET_REGION_INFO,
      "VFIO_DEVICE_GET_IRQ_INFO": IOC_VFIO_DEVICE_GET_IRQ_INFO,
      "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO": IOC_VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
    ]
    kernel.state.withLock { $0.deviceFlags = UInt32(VFIO_DEVICE_FLAGS_PCI) }
    kernel.fail(try #require(requests[name]), with: KernelError.io)
    let error = #expect(throws: VFIOError.self) { try kernel.device() }
    #expect(error?.description.contains(name) == true)
  }

  // MARK: Access

  @Test("each width is accessed at its offset in the descriptor, and not beyond the region's end")
  func access() throws {
    let device = try kernel.device()
    for width in [1, 2, 4, 8] {
      let offset = UInt64(width * 16)
      try device.write(0, offset: offset, width: width, 0x8877_6655_4433_2211)
      #expect(
        try device.read(0, offset: offset, width: width) == 0x8877_6655_4433_2211 & .max
          >> UInt64(64 - width * 8))
      #expect(try device.read(0, offset: 0x4000 - UInt64(width), width: width) == 0)
      #expect(throws: OperationError.self) {
        try device.read(0, offset: 0x4001 - UInt64(width), width: width)
      }
      #expect(throws: OperationError.self) {
        try device.write(0, offset: 0x4001 - UInt64(width), width: width, 0)
      }
    }
    #expect(throws: OperationError("read region 1: the access ends beyond the region")) {
      try device.read(1, offset: 0, width: 1)
    }
    #expect(throws: OperationError("write region 9: the access ends beyond the region")) {
      try device.write(9, offset: 0, width: 1, 0)
    }
    try device.write(7, offset: 4, width: 2, 6)
    #expect(try device.readAll(7, count: 8) == [0, 0, 0, 0, 6, 0, 0, 0])
    #expect(try device.readAll(7, count: 4096).count == 256)
    #expect(try device.readAll(1, count: 4) == [])
  }

  @Test("only an aligned 8-byte access to a mapped area uses the mapping")
  func mapped() throws {
    let device = try kernel.device()
    let host = try device.map(2, 0x3000..<0x5000)
    #expect(host % 0x1000 == 0)
    try device.write(2, offset: 0x3008, width: 8, 0x1122_3344_5566_7788)
    #expect(try device.read(2, offset: 0x3008, width: 4) == 0x5566_7788, "the mapping is of the same file")
    #expect(try device.read(2, offset: 0x3008, width: 8) == 0x1122_3344_5566_7788)
    #expect(try device.read(2, offset: 0x3004, width: 8) == 0x5566_7788_0000_0000, "not aligned")
    #expect(try device.read(2, offset: 0x5000, width: 8) == 0, "not mapped")
    #expect(throws: OperationError.self) { try device.map(1, 0..<0x1000) }
    #expect(throws: OperationError.self) { try device.map(4, 0x10..<0x1010) }
    device.close()
    #expect(!device.isOpen)
    let closed = #expect(throws: OperationError.self) { try device.read(2, offset: 0x3008, width: 8) }
    #expect(closed?.errno == 9, "the mapping is removed with the descriptor")
    #expect(throws: OperationError.self) { try device.write(0, offset: 0, width: 4, 0) }
    #expect(throws: OperationError.self) { try device.readAll(7, count: 4) }
  }

  // MARK: Interrupts and resets

  @Test("interrupts are requested by index, with at most the host's number of vectors")
  func interrupts() throws {
    let device = try kernel.device()
    _ = kernel.takeCalls()
    #expect(try device.enableInterrupts(.msix, count: 16) == 16)
    kernel.state.withLock { $0.vectors = 3 }
    #expect(try device.enableInterrupts(.msi, count: 4) == 3)
    try device.setTrigger(.msix, vector: 2, event: 77)
    try device.setTrigger(.request, vector: 0, event: 78)
    try device.setUnmask(event: 79)
    try device.disableInterrupts(.intx)
    #expect(
      kernel.takeCalls() == [
        "trigger 2: 0+16 event -1", "trigger 1: 0+3 event -1", "trigger 2: 2+1 event 77",
        "trigger 4: 0+1 event 78", "unmask 0: 0+1 event 79", "trigger 0: 0+0 event -1",
      ])
    kernel.fail(IOC_VFIO_DEVICE_SET_IRQS, with: KernelError.busy)
    let error = #expect(throws: OperationError.self) { try device.setTrigger(.intx, vector: 0, event: 1) }
    #expect(error?.errno == KernelError.busy && error?.description.contains("intx vector 0") == true)
    #expect(throws: OperationError.self) { try device.enableInterrupts(.msi, count: 1) }
    #expect(throws: OperationError.self) { try device.disableInterrupts(.msi) }
    #expect(throws: OperationError.self) { try device.setUnmask(event: 1) }
    #expect(throws: OperationError.self) { try device.enableInterrupts(.msix, count: 5000) }
  }

  @Test("a reset is requested, and its error is the kernel's error")
  func reset() throws {
    let device = try kernel.device()
    _ = kernel.takeCalls()
    try device.reset()
    #expect(kernel.takeCalls() == ["reset"])
    kernel.fail(IOC_VFIO_DEVICE_RESET, with: KernelError.again)
    let error = #expect(throws: OperationError.self) { try device.reset() }
    #expect(error?.errno == KernelError.again)
  }

  @Test("a bus reset passes the VM's groups in its scope, and the scope marks functions of other owners")
  func busReset() throws {
    kernel.state.withLock { state in
      state.deviceFlags = UInt32(VFIO_DEVICE_FLAGS_PCI)
      // More functions than the first buffer has room for.
      state.dependents = (0..<40).map { (group: $0 < 2 ? 7 : 30, bus: 3, devfn: UInt8($0)) }
    }
    let device = try kernel.device()
    let scope = try #require(device.busResetScope)
    #expect(scope.count == 40)
    #expect(scope[1] == ResetDependent(group: "7", address: "0000:03:00.1", isOwned: true))
    #expect(scope[9] == ResetDependent(group: "30", address: "0000:03:01.1", isOwned: false))
    _ = kernel.takeCalls()
    try device.resetBus()
    #expect(kernel.takeCalls() == ["bus reset with 1 groups"])
    kernel.fail(IOC_VFIO_DEVICE_PCI_HOT_RESET, with: KernelError.invalid)
    #expect(throws: OperationError.self) { try device.resetBus() }
  }

  @Test("a device on a bus that cannot be reset has no scope")
  func noBusReset() throws {
    kernel.state.withLock { $0.deviceFlags = UInt32(VFIO_DEVICE_FLAGS_PCI) }
    #expect(try kernel.device().busResetScope == nil)
  }
}
