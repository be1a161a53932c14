// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Linux
import Seams
import Synchronization
import Testing

@testable import VFIO

/// iommufd and the device's cdev, with requests that ``FakeVFIO`` answers.
@Suite(.serialized) struct IOMMUFDTests {
  private let kernel: FakeVFIO
  private let iommufd: IOMMUFD

  init() throws {
    kernel = try FakeVFIO()
    iommufd = IOMMUFD(try kernel.open(.iommufd))
  }

  private func bound() throws -> BoundDevice {
    BoundDevice(
      address: FakeVFIO.address, cdev: "vfio3", group: "7", SharedDescriptor(try kernel.open(.device)),
      spares: [])
  }

  @Test("maps RAM at a fixed IOVA, readable and writable, and unmaps every mapping of a range")
  func map() throws {
    let space = try iommufd.makeSpace()
    try space.map(iova: 0x1000, size: 0x2000, host: 0x7000, sharedWith: nil)
    try space.map(iova: 0x4000, size: 0x1000, host: 0x9000, sharedWith: nil)
    #expect(kernel.state.withLock { $0.mappings } == [0x1000: 0x2000, 0x4000: 0x1000])
    let last = kernel.state.withLock { $0.lastMapping }
    #expect(last?.host == 0x9000 && last?.flags == 7)
    #expect(throws: OperationError("IOMMU_IOAS_MAP 4096 bytes at IOVA 0x1000: File exists", errno: 17)) {
      try space.map(iova: 0x1000, size: 0x1000, host: 0x7000, sharedWith: nil)
    }
    #expect(try space.unmapAll(iova: 0, size: 0x10000) == 0x3000)
    #expect(try space.unmapAll(iova: 0, size: 0x10000) == 0, "a range without a mapping is no error")
    kernel.fail(IOC_IOMMU_IOAS_UNMAP, with: 22)
    #expect(throws: OperationError.self) { try space.unmapAll(iova: 0, size: 0x1000) }
  }

  @Test("reads the ranges again after each attach, also if they are more than the first buffer holds")
  func ranges() throws {
    let space = try iommufd.makeSpace()
    #expect(try space.limits().ranges == [0...0xFEDF_FFFF, 0xFEF0_0000...0x7F_FFFF_FFFF])
    let many = (0..<40).map { UInt64($0) << 32...UInt64($0) << 32 + 0xFFF }
    kernel.state.withLock { $0.ranges = many }
    #expect(try space.limits().ranges == many)
    #expect(try space.limits().mappings == .max)
    kernel.fail(IOC_IOMMU_IOAS_IOVA_RANGES, with: 2)
    #expect(throws: OperationError.self) { try space.limits() }
  }

  @Test("binds a device, with its token if there is one, and attaches it to the space")
  func bind() throws {
    let device = try bound()
    try device.bind(to: iommufd, token: nil)
    #expect(kernel.state.withLock { $0.token } == nil)
    try device.attach(to: try iommufd.makeSpace())
    #expect(kernel.takeCalls() == ["bind", "attach 5"])
    let token = try #require(VFToken.bytes("00112233-4455-6677-8899-aabbccddeeff"))
    try device.bind(to: iommufd, token: token)
    #expect(kernel.state.withLock { $0.token } == token)
    #expect(token.first == 0 && token.last == 0xFF && token.count == 16)
  }

  @Test("an error of a bind or an attach names the device; a refused token is named as such")
  func refused() throws {
    let device = try bound()
    kernel.fail(IOC_VFIO_DEVICE_BIND_IOMMUFD, with: 5)
    #expect(throws: VFIOError.device(FakeVFIO.address, KernelError("VFIO_DEVICE_BIND_IOMMUFD", errno: 5))) {
      try device.bind(to: iommufd, token: nil)
    }
    let denied = KernelError("VFIO_DEVICE_BIND_IOMMUFD", errno: KernelError.accessDenied)
    kernel.fail(IOC_VFIO_DEVICE_BIND_IOMMUFD, with: KernelError.accessDenied)
    #expect(throws: VFIOError.token(device: FakeVFIO.address, isGiven: false, denied)) {
      try device.bind(to: iommufd, token: nil)
    }
    kernel.fail(IOC_VFIO_DEVICE_ATTACH_IOMMUFD_PT, with: 22)
    let space = try iommufd.makeSpace()
    #expect(
      throws: VFIOError.device(FakeVFIO.address, KernelError("VFIO_DEVICE_ATTACH_IOMMUFD_PT", errno: 22))
    ) {
      try device.attach(to: space)
    }
    kernel.fail(IOC_IOMMU_IOAS_ALLOC, with: 12)
    #expect(throws: VFIOError.noIOMMUFD(KernelError("IOMMU_IOAS_ALLOC", errno: 12))) {
      try iommufd.makeSpace()
    }
  }

  @Test("a device that another process has open is named with its cdev and its group")
  func held() throws {
    let device = try bound()
    kernel.fail(IOC_VFIO_DEVICE_BIND_IOMMUFD, with: KernelError.busy)
    func held(_ errno: Int32) -> VFIOError {
      .held(
        device: FakeVFIO.address, cdev: "vfio3", group: "7",
        KernelError("VFIO_DEVICE_BIND_IOMMUFD", errno: errno))
    }
    #expect(throws: held(KernelError.busy)) { try device.bind(to: iommufd, token: nil) }
    kernel.fail(IOC_VFIO_DEVICE_BIND_IOMMUFD, with: nil)
    kernel.state.withLock { $0.isBound = true }
    #expect(throws: held(KernelError.invalid)) { try device.bind(to: iommufd, token: nil) }
  }

  @Test("a refused token is unknown to the kernel, or needless if the kernel reads tokens")
  func tokens() throws {
    let device = try bound()
    let token = [UInt8](repeating: 7, count: 16)
    let invalid = KernelError("VFIO_DEVICE_BIND_IOMMUFD", errno: KernelError.invalid)
    kernel.state.withLock { $0.acceptsTokens = false }
    #expect(throws: VFIOError.unknownToken(device: FakeVFIO.address, invalid)) {
      try device.bind(to: iommufd, token: token)
    }
    kernel.state.withLock { ($0.acceptsTokens, $0.hasPhysicalOwner) = (true, false) }
    #expect(throws: VFIOError.needlessToken(device: FakeVFIO.address, invalid)) {
      try device.bind(to: iommufd, token: token)
    }
  }

  @Test("a bound device has the regions of its cdev, and a bus reset proves ownership by the iommufd")
  func device() throws {
    kernel.state.withLock { state in
      state.regions[0] = (UInt32(VFIO_REGION_INFO_FLAG_MMAP), 0x4000, 0, [])
      state.deviceFlags = UInt32(VFIO_DEVICE_FLAGS_PCI)
      // The device's ID, an affected device without a driver (0), and a device of another owner (-1).
      state.dependents = [(1, 1, 0), (0, 1, 1), (.max, 1, 2)]
    }
    let closed = Mutex<[Int32]>([])
    let bound = try bound()
    let number = bound.descriptorNumber
    let device = try Device(bound, willOpen: { _ in }) { file in
      // The descriptor is still open, so that KVM can find its file.
      closed.withLock { $0.append(fcntl(file, F_GETFD) < 0 ? -1 : file) }
    }
    #expect(device.region(0)?.size == 0x4000)
    #expect(device.busResetScope?.map(\.isOwned) == [true, true, false])
    try device.resetBus()
    #expect(kernel.takeCalls().last == "bus reset with 0 groups")
    device.close()
    device.close()
    #expect(
      closed.withLock { $0 } == [number], "KVM loses its reference once, before the descriptor is closed")
  }

  @Test("a device is opened again by its spare cdev, once, and its mappings keep their addresses")
  func reopen() throws {
    kernel.state.withLock { $0.regions[0] = (UInt32(VFIO_REGION_INFO_FLAG_MMAP), 0x4000, 0, []) }
    let (first, second) = (
      SharedDescriptor(try kernel.open(.device)), SharedDescriptor(try kernel.open(.device))
    )
    let number = second.number
    let bound = BoundDevice(address: FakeVFIO.address, cdev: "vfio3", group: "7", first, spares: [second])
    try bound.bind(to: iommufd, token: nil)
    try bound.attach(to: try iommufd.makeSpace())
    let files = Mutex<[String]>([])
    let device = try Device(
      bound, willOpen: { file in files.withLock { $0.append("open \(file)") } }
    ) { file in files.withLock { $0.append("close \(file)") } }
    let address = try device.map(0, 0..<0x1000)
    try device.write(0, offset: 0, width: 8, 0x1122)
    _ = kernel.takeCalls()
    let closed = first.number
    try device.reopen()
    #expect(files.withLock { $0 } == ["close \(closed)", "open \(number)"])
    #expect(kernel.takeCalls() == ["bind", "attach 5"] && first.number == number && second.number == -1)
    #expect(fcntl(closed, F_GETFD) < 0 && device.isOpen)
    // The mapping is of the new file.
    try device.write(0, offset: 8, width: 8, 0x3344)
    #expect(
      try FaultTolerantAccess.load(address) == 0x1122 && FaultTolerantAccess.load(address + 8) == 0x3344)
    let error = #expect(throws: OperationError.self) { try device.reopen() }
    #expect(error?.description == VFIOError.noSpare(FakeVFIO.address).description && !device.isOpen)
    device.close()
  }

  @Test("the spare cdev is closed with the device, whose removal waits for it")
  func spare() throws {
    let file = try kernel.open(.device)
    let number = file.number
    let bound = BoundDevice(
      address: FakeVFIO.address, cdev: "vfio3", group: "7", SharedDescriptor(try kernel.open(.device)),
      spares: [SharedDescriptor(file)])
    let device = try Device(bound, willOpen: { _ in }, willClose: { _ in })
    #expect(fcntl(number, F_GETFD) >= 0)
    device.close()
    #expect(fcntl(number, F_GETFD) < 0 && !device.isOpen)
  }

  @Test("shares the pins of RAM with a space that has the same mapping")
  func copy() throws {
    let (first, second) = (try iommufd.makeSpace(), try iommufd.makeSpace())
    try first.map(iova: 0x1000, size: 0x2000, host: 0x7000, sharedWith: nil)
    try AddressSpace(second).map(iova: 0x1000, size: 0x2000, host: 0x7000, sharedWith: AddressSpace(first))
    #expect(kernel.takeCalls() == ["copy 5 to 5 with flags 7"])
    #expect(
      throws: OperationError("IOMMU_IOAS_COPY 4096 bytes at IOVA 0x1000: No such file or directory", errno: 2)
    ) {
      try second.map(iova: 0x1000, size: 0x1000, host: 0x7000, sharedWith: first)
    }
  }

  @Test("exports a range of a BAR once, and maps its dma-buf at a fixed IOVA")
  func dmaBuffer() throws {
    let bound = try bound()
    #expect(bound.exportsDMABuffers)
    let device = try Device(bound, willOpen: { _ in }, willClose: { _ in })
    let space = AddressSpace(try iommufd.makeSpace())
    let container = AddressSpace(try kernel.container())
    #expect(space.needsDMABuffers && !container.needsDMABuffers)
    let buffer = try device.dmaBuffer(2, 0x1000..<0x3000)
    for _ in 0..<2 {
      try space.map(iova: 0x8000, size: 0x2000, window: .dmaBuffer(buffer))
      #expect(try space.unmapAll(iova: 0x8000, size: 0x2000) == 0x2000)
      #expect(try device.dmaBuffer(2, 0x1000..<0x3000) == buffer)
    }
    #expect(
      kernel.takeCalls() == ["export 2 at 4096"] + [String](repeating: "map file with flags 7", count: 2))
    #expect(throws: OperationError.self) { try space.map(iova: 0, size: 0x1000, window: .host(0x7000)) }
    #expect(throws: OperationError.self) {
      try container.map(iova: 0, size: 0x1000, window: .dmaBuffer(buffer))
    }
    device.close()
    #expect(fcntl(buffer, F_GETFD) < 0, "the descriptor is closed with the device")
  }

  @Test("keeps a bounded number of dma-bufs and names a refused export")
  func manyBuffers() throws {
    let device = try Device(try bound(), willOpen: { _ in }, willClose: { _ in })
    let first = try device.dmaBuffer(0, 0..<0x1000)
    for index in 1...DMABuffers.capacity {
      let start = UInt64(index) << 12
      _ = try device.dmaBuffer(0, start..<start + 0x1000)
    }
    #expect(fcntl(first, F_GETFD) < 0, "the oldest one is closed")
    kernel.fail(IOC_VFIO_DEVICE_FEATURE, with: 24)
    #expect(throws: OperationError("VFIO_DEVICE_FEATURE_DMA_BUF of region 0: Too many open files", errno: 24))
    {
      try device.dmaBuffer(0, 0..<0x1000)
    }
    kernel.fail(IOC_VFIO_DEVICE_FEATURE, with: 25)
    let other = try bound()
    #expect(!other.exportsDMABuffers)
  }

  @Test("an address space passes each call on to its kind")
  func space() throws {
    let spaces = [AddressSpace(try kernel.container()), AddressSpace(try iommufd.makeSpace())]
    for space in spaces {
      try space.map(iova: 0x8000, size: 0x1000, host: 0x7000, sharedWith: nil)
      #expect(kernel.state.withLock { $0.mappings } == [0x8000: 0x1000])
      #expect(try space.unmapAll(iova: 0x8000, size: 0x1000) == 0x1000)
    }
    #expect(try spaces.map { try $0.limits().ranges.count } == [0, 2])
  }

  @Test(
    "a text that is no UUID has no bytes",
    arguments: [
      "", "00112233", "0011223344556677889900aabbccddeeff00", "zz112233-4455-6677-8899-aabbccddeeff",
    ])
  func token(text: String) { #expect(VFToken.bytes(text) == nil) }
}
