// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import GuestMemory

@Suite struct GuestMemoryTests {
  private static let mebibyte: UInt64 = 1 << 20
  private static let gibibyte: UInt64 = 1 << 30

  private static func address(_ value: UInt64) -> GuestAddress { GuestAddress(value) }

  // RAM that is not accessed uses no memory of the host.
  @Test(
    "RAM lies below the hole, and the rest continues at 4 GiB",
    arguments: [
      (2 << 20, [0..<2 << 20]), (3 << 30, [0..<3 << 30]),
      ((3 << 30) + 4096, [0..<3 << 30, 4 << 30..<(4 << 30) + 4096]),
      (6 << 30, [0..<3 << 30, 4 << 30..<7 << 30]),
    ] as [(UInt64, [Range<UInt64>])])
  func regions(_ size: UInt64, _ expected: [Range<UInt64>]) throws {
    let memory = try GuestMemory(size: size)
    #expect(memory.regions.map { $0.base.rawValue..<$0.end.rawValue } == expected)
    #expect(memory.size == size)
    #expect(memory.regions.map(\.size).reduce(0, +) == size)
    if memory.regions.count == 2 {
      #expect(memory.regions[1].hostAddress == memory.regions[0].hostAddress + memory.regions[0].size)
    }
  }

  /// AMD's HyperTransport addresses below 1 TiB, as in /sys/kernel/iommu_groups/N/reserved_regions.
  private static let hyperTransport: ClosedRange<UInt64> = 0xFD_0000_0000...0xFF_FFFF_FFFF

  @Test("RAM leaves out addresses that the IOMMU reserves, in whole pages of its backing")
  func holes() {
    func ranges(_ size: UInt64, _ holes: [ClosedRange<UInt64>], page: UInt64 = 4096) -> [Range<UInt64>] {
      GuestMemory.ranges(of: size, around: holes, pageSize: page)
    }
    let tebibyte: UInt64 = 1 << 40
    #expect(ranges(8 << 30, [Self.hyperTransport]) == [0..<3 << 30, 4 << 30..<9 << 30])
    #expect(
      ranges(2 * tebibyte, [Self.hyperTransport, 0xFEE0_0000...0xFEEF_FFFF])
        == [0..<3 << 30, 4 << 30..<0xFD_0000_0000, tebibyte..<2 * tebibyte + (13 << 30)])
    #expect(ranges(2 << 30, [0x1000...0x1FFF]) == [0..<0x1000, 0x2000..<(2 << 30) + 0x1000])
    #expect(
      ranges(2 << 30, [0x4000_1000...0x4000_1FFF], page: 2 << 20)
        == [0..<0x4000_0000, 0x4020_0000..<(2 << 30) + (2 << 20)])
    #expect(ranges(1 << 30, [0x1000...0x2FFF, 0x2000...0x3FFF, 0...0xFFF]) == [0x4000..<(1 << 30) + 0x4000])
    #expect(ranges(8 << 30, [1 << 36...UInt64.max]) == [0..<3 << 30, 4 << 30..<9 << 30])
    for size in [1 << 20, 3 << 30, 5 << 40] as [UInt64] {
      let all = ranges(size, [Self.hyperTransport, 1 << 32...(1 << 32) + 5])
      #expect(all.reduce(0) { $0 + $1.upperBound - $1.lowerBound } == size)
      #expect(zip(all, all.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    }
  }

  @Test("RAM in several regions is one mapping, and an access does not cross a hole")
  func holesInUse() throws {
    let memory = try GuestMemory(size: 2 * Self.mebibyte, holes: [0x10_0000...0x1F_FFFF])
    #expect(memory.regions.map(\.base) == [Self.address(0), Self.address(0x20_0000)])
    try memory.store(7 as UInt8, at: Self.address(0x2F_FFFF))
    #expect(throws: GuestMemory.OutOfRange.self) { try memory.load(UInt16.self, at: Self.address(0xF_FFFF)) }
    #expect(throws: GuestMemory.OutOfRange.self) { try memory.load(UInt8.self, at: Self.address(0x10_0000)) }
  }

  @Test("numbers are stored and loaded little-endian, in every width")
  func numbers() throws {
    let memory = try GuestMemory(size: 2 * Self.mebibyte)
    try memory.store(0x1122_3344_5566_7788 as UInt64, at: Self.address(0x1000))
    #expect(try memory.read(8, at: Self.address(0x1000)) == [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11])
    #expect(try memory.load(UInt8.self, at: Self.address(0x1007)) == 0x11)
    #expect(try memory.load(UInt16.self, at: Self.address(0x1002)) == 0x5566)
    #expect(try memory.load(UInt32.self, at: Self.address(0x1004)) == 0x1122_3344)
    try memory.store(0xFFEE as UInt16, at: Self.address(0x1001))
    #expect(try memory.load(UInt64.self, at: Self.address(0x1000)) == 0x1122_3344_55FF_EE88)
    #expect(try memory.load(UInt64.self, at: Self.address(0x2000)) == 0, "fresh RAM is zero")
  }

  @Test("an access that is not completely in RAM is an error with its address and length")
  func bounds() throws {
    let memory = try GuestMemory(size: 2 * Self.mebibyte)
    let end = 2 * Self.mebibyte
    try memory.store(1 as UInt8, at: Self.address(end - 1))
    try memory.write([1, 2, 3, 4], at: Self.address(end - 4))
    #expect(try memory.read(0, at: Self.address(end)) == [])
    #expect(throws: GuestMemory.OutOfRange(address: Self.address(end - 1), count: 2)) {
      try memory.store(1 as UInt16, at: Self.address(end - 1))
    }
    #expect(throws: GuestMemory.OutOfRange(address: Self.address(end), count: 1)) {
      try memory.load(UInt8.self, at: Self.address(end))
    }
    #expect(throws: GuestMemory.OutOfRange.self) { try memory.write([1, 2], at: Self.address(end - 1)) }
    #expect(throws: GuestMemory.OutOfRange.self) { try memory.read(1, at: Self.address(end)) }
    for top in [UInt64.max, UInt64.max - 7] {
      #expect(throws: GuestMemory.OutOfRange.self) { try memory.load(UInt64.self, at: Self.address(top)) }
    }
    let error = GuestMemory.OutOfRange(address: Self.address(0x20_0000), count: 8)
    #expect(error.description == "8 bytes at GPA 0x200000 are not in guest RAM")
  }

  @Test("no access reaches into the hole or across it")
  func hole() throws {
    let memory = try GuestMemory(size: 3 * Self.gibibyte + Self.mebibyte)
    let hole = GuestMemory.holeStart
    try memory.store(7 as UInt8, at: Self.address(hole - 1))
    try memory.store(9 as UInt8, at: Self.address(GuestMemory.holeEnd))
    #expect(try memory.load(UInt8.self, at: Self.address(hole - 1)) == 7)
    for address in [hole - 1, hole, GuestMemory.holeEnd - 1] {
      #expect(throws: GuestMemory.OutOfRange.self) { try memory.load(UInt16.self, at: Self.address(address)) }
    }
  }

  @Test("a part of a file is loaded at its address, and adjoining bytes do not change")
  func load() throws {
    let directory = try Temporary()
    let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let file = try OwnedDescriptor(opening: try directory.file("file", bytes), .read)
    let memory = try GuestMemory(size: 2 * Self.mebibyte)
    try memory.write([UInt8](repeating: 0xAA, count: 6000), at: Self.address(0x1000))
    try memory.load(file, offset: 100, count: 5000, at: Self.address(0x1010))
    #expect(try memory.read(5000, at: Self.address(0x1010)) == Array(bytes[100..<5100]))
    #expect(try memory.load(UInt8.self, at: Self.address(0x100F)) == 0xAA)
    #expect(try memory.load(UInt8.self, at: Self.address(0x1010 + 5000)) == 0xAA)
    try memory.load(file, offset: 0, count: 0, at: Self.address(0))
  }

  private func failure(_ body: () throws(GuestMemory.LoadError) -> Void) -> String? {
    do throws(GuestMemory.LoadError) {
      try body()
      return nil
    } catch { return error.description }
  }

  @Test("a short file, a range outside RAM and an unreadable file are different errors")
  func loadFails() throws {
    let directory = try Temporary()
    let file = try OwnedDescriptor(opening: try directory.file("file", [1, 2, 3]), .read)
    let folder = try OwnedDescriptor(opening: directory.path, .read)
    let memory = try GuestMemory(size: 2 * Self.mebibyte)
    #expect(
      failure { () throws(GuestMemory.LoadError) in
        try memory.load(file, offset: 1, count: 8, at: Self.address(0))
      } == "the file ends after 2 of 8 bytes")
    #expect(
      failure { () throws(GuestMemory.LoadError) in
        try memory.load(file, offset: 0, count: 2, at: Self.address(2 * Self.mebibyte - 1))
      } == "2 bytes at GPA 0x1fffff are not in guest RAM")
    #expect(
      failure { () throws(GuestMemory.LoadError) in
        try memory.load(folder, offset: 0, count: 1, at: Self.address(0))
      } == "pread: Is a directory")
  }

  @Test("a size that the host does not have is an error and does not trap")
  func tooLarge() {
    #expect(throws: GuestMemory.AllocationError.self) { _ = try GuestMemory(size: .max & ~4095) }
    #expect(throws: GuestMemory.AllocationError.self) { _ = try GuestMemory(size: 1 << 62) }
  }

  @Test("addresses are ordered, wrap as the bus does and print in hexadecimal")
  func addresses() {
    #expect(Self.address(1) < Self.address(2))
    #expect(Self.address(.max) + 1 == Self.address(0))
    #expect(Self.address(0xFEE0_0000).description == "0xfee00000")
    #expect(UInt64(4097).roundedUp(to: 4096) == 8192 && UInt64(4096).roundedUp(to: 4096) == 4096)
    #expect(GuestMemory.Backing.memfd.pageSize == 4096)
    #expect(GuestMemory.Backing.hugePages(shift: 21).pageSize == 2 << 20)
  }
}
