// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import Seams
import Synchronization
import Testing

@testable import VFIO

/// The values that are decoded from the kernel's answers.
@Suite struct DeviceFactsTests {
  private let kernel: FakeVFIO

  init() throws {
    kernel = try FakeVFIO()
    let mappable = UInt32(VFIO_REGION_INFO_FLAG_MMAP)
    kernel.state.withLock { state in
      state.regions = [
        0: (mappable, 0x8000, 0x1_0000, []),
        2: (
          mappable, 0x8000, 0x2_0000, [0x6000..<0x8000, 0..<0x1000, 0x7000..<0x9000, 0x2000..<0x2000]
        ),
        3: (0, 0x1000, 0x3_0000, []), 7: (0, 256, 0x4_0000, []),
      ]
      state.interrupts = [0: (1, 0), 1: (4, 0), 2: (16, 0), 3: (1, 0), 4: (1, 0)]
    }
  }

  @Test("mappable areas are in ascending order, without areas that are empty or end beyond the region")
  func areas() throws {
    let device = try kernel.device()
    #expect(device.region(2)?.mappable == [0..<0x1000, 0x6000..<0x8000])
  }

  @Test("each kind of interrupt has the count of its index")
  func kinds() throws {
    let device = try kernel.device()
    for (kind, count) in [(.intx, 1), (.msi, 4), (.msix, 16), (.error, 1), (.request, 1)]
      as [(InterruptKind, Int)]
    {
      #expect(device.interruptInfo(kind).count == count && !device.interruptInfo(kind).isFixed)
    }
    kernel.state.withLock { $0.interrupts[3] = nil }
    #expect(try kernel.device().interruptInfo(.error).count == 0)
  }

  @Test("an 8-byte access uses only a mapping of the same region and area")
  func mappings() throws {
    let device = try kernel.device()
    _ = try device.map(0, 0x1000..<0x2000)
    _ = try device.map(2, 0..<0x1000)
    _ = try device.map(2, 0x6000..<0x8000)
    for (region, offset) in [
      (0, 0x1008), (2, 0x1008), (2, 0x8), (0, 0x8), (2, 0x6010), (0, 0x6010), (2, 0x7FF8),
    ]
      as [(Int, UInt64)]
    {
      let value = UInt64(region) << 32 | offset
      try device.write(region, offset: offset, width: 8, value)
      #expect(try device.read(region, offset: offset, width: 4) == value & 0xFFFF_FFFF)
      #expect(try device.read(region, offset: offset + 4, width: 4) == value >> 32)
      #expect(try device.read(region, offset: offset, width: 8) == value)
    }
    #expect(try device.read(0, offset: 0x7FF8, width: 8) == 0)
  }

  @Test("a region is read from its start to its end")
  func all() throws {
    let device = try kernel.device()
    for offset in 0..<256 as Range<UInt64> { try device.write(7, offset: offset, width: 1, offset) }
    #expect(try device.readAll(7, count: 4096) == (0..<256).map { UInt8($0) })
    #expect(try device.readAll(7, count: 3) == [0, 1, 2])
    #expect(try device.readAll(3, count: 2) == [0, 0])
  }

  @Test("a bus reset passes the descriptors of the groups in its scope, and addresses have a domain")
  func busReset() throws {
    kernel.state.withLock { state in
      state.deviceFlags = UInt32(VFIO_DEVICE_FLAGS_PCI)
      state.segment = 2
      state.dependents = [(group: 7, bus: 0xA0, devfn: 0xFF), (group: 9, bus: 3, devfn: 8)]
    }
    let groups = [try kernel.group("7"), try kernel.group("8"), try kernel.group("9")]
    let device = try kernel.device(groups)
    #expect(device.busResetScope?.map(\.address) == ["0002:a0:1f.7", "0002:03:01.0"])
    #expect(device.busResetScope?.map(\.isOwned) == [true, true])
    try device.resetBus()
    #expect(
      kernel.state.withLock { $0.resetGroups } == [groups[0].descriptorNumber, groups[2].descriptorNumber])
  }

  @Test("a DMA mapping refers to host memory, for reads and writes")
  func mapping() throws {
    try kernel.container().map(iova: 0x1000, size: 0x2000, host: 0x7_0000, sharedWith: nil)
    let last = kernel.state.withLock { $0.lastMapping }
    #expect(last?.host == 0x7_0000)
    #expect(last?.flags == UInt32(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
    #expect(kernel.state.withLock { $0.mappings } == [0x1000: 0x2000])
  }

  @Test("the number of enabled vectors is limited by the host, down to one")
  func vectors() throws {
    let device = try kernel.device()
    for (left, wanted, got) in [(16, 16, 16), (15, 16, 15), (1, 16, 1), (1, 1, 1)] as [(UInt32, Int, Int)] {
      kernel.state.withLock { $0.vectors = left }
      #expect(try device.enableInterrupts(.msix, count: wanted) == got)
    }
  }
}
