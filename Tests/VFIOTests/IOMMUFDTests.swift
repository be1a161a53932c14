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
    BoundDevice(address: FakeVFIO.address, try kernel.open(.device))
  }

  @Test("maps RAM at a fixed IOVA, readable and writable, and unmaps every mapping of a range")
  func map() throws {
    let space = try iommufd.makeSpace()
    try space.map(iova: 0x1000, size: 0x2000, host: 0x7000)
    try space.map(iova: 0x4000, size: 0x1000, host: 0x9000)
    #expect(kernel.state.withLock { $0.mappings } == [0x1000: 0x2000, 0x4000: 0x1000])
    let last = kernel.state.withLock { $0.lastMapping }
    #expect(last?.host == 0x9000 && last?.flags == 7)
    #expect(throws: OperationError("IOMMU_IOAS_MAP 4096 bytes at IOVA 0x1000: File exists", errno: 17)) {
      try space.map(iova: 0x1000, size: 0x1000, host: 0x7000)
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
    kernel.fail(IOC_VFIO_DEVICE_BIND_IOMMUFD, with: 16)
    #expect(throws: VFIOError.device(FakeVFIO.address, KernelError("VFIO_DEVICE_BIND_IOMMUFD", errno: 16))) {
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
    let device = try Device(bound) { file in
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

  @Test("an address space passes each call on to its kind")
  func space() throws {
    let spaces = [AddressSpace(try kernel.container()), AddressSpace(try iommufd.makeSpace())]
    for space in spaces {
      try space.map(iova: 0x8000, size: 0x1000, host: 0x7000)
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
