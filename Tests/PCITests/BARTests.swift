// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct BARTests {
  private static func header(_ registers: [UInt32]) -> [UInt8] {
    var config = [UInt8](repeating: 0, count: 256)
    for (index, value) in registers.enumerated() {
      config.set(value, at: ConfigOffset.bar0 + index * 4, width: 4)
    }
    return config
  }

  @Test("the low bits of each BAR determine its kind")
  func kinds() {
    let config = Self.header([0xC001, 0xF000_0000, 0x0000_000C, 1, 0x0000_0008, 0])
    let bars = BAR.decode(config, sizes: [32, 4096, 1 << 32, 0, 1 << 20, 0])
    #expect(
      bars == [
        BAR(index: 0, kind: .io, size: 32), BAR(index: 1, kind: .memory32, size: 4096),
        BAR(index: 2, kind: .memory64, isPrefetchable: true, size: 1 << 32),
        BAR(index: 4, kind: .memory32, isPrefetchable: true, size: 1 << 20),
      ])
  }

  @Test("the second register of a 64-bit BAR is not a BAR, whatever its value")
  func upperHalf() {
    let config = Self.header([4, 1, 4, 0xFFFF_FFFF, 4, 8])
    let bars = BAR.decode(config, sizes: [16, 16, 16, 16, 16, 16])
    #expect(bars.map(\.index) == [0, 2, 4])
    #expect(bars.allSatisfy { $0.kind == .memory64 })
  }

  @Test("the last register cannot be the first of a 64-bit BAR")
  func lastRegister() {
    let bars = BAR.decode(Self.header([0, 0, 0, 0, 0, 4]), sizes: [0, 0, 0, 0, 0, 4096])
    #expect(bars == [BAR(index: 5, kind: .memory32, size: 4096)])
  }

  @Test("a BAR without a size is absent")
  func absent() {
    #expect(BAR.decode(Self.header([8, 8, 8]), sizes: [0, 0]) == [])
    #expect(BAR.decode([], sizes: [4096]).map(\.size) == [4096])
  }

  @Test(
    "a size is rounded up to a valid power of two",
    arguments: [
      (BAR.Kind.memory32, 0, 16), (.memory32, 1, 16), (.io, 1, 4), (.io, 5, 8),
      (.memory64, 4096, 4096),
      (.memory64, 4097, 8192), (.memory64, (1 << 40) - 1, 1 << 40),
    ] as [(BAR.Kind, UInt64, UInt64)])
  func sizes(_ kind: BAR.Kind, _ given: UInt64, _ expected: UInt64) {
    #expect(BAR(index: 0, kind: kind, size: given).size == expected)
  }
}

@Suite struct BARAllocatorTests {
  private static let windows = BARAllocator(
    io: 0xC000..<0x1_0000, memory32: 0xC000_0000..<0xE000_0000, memory64: 0x1_4000_0000..<0x100_0000_0000)

  private static func bar(
    _ kind: BAR.Kind, _ size: UInt64, prefetchable: Bool = false
  ) -> BAR {
    BAR(index: 0, kind: kind, isPrefetchable: prefetchable, size: size)
  }

  @Test("each BAR is aligned to its size, is in a window of its kind and overlaps no other BAR")
  func allocate() throws {
    let bars = [
      Self.bar(.memory32, 4096), Self.bar(.memory64, 1 << 32, prefetchable: true), Self.bar(.io, 32),
      Self.bar(.memory32, 1 << 20), Self.bar(.memory64, 16 << 10), Self.bar(.memory32, 16),
      Self.bar(.io, 256), Self.bar(.memory64, 64 << 20), Self.bar(.memory32, 16),
    ]
    var allocator = Self.windows
    let addresses = try allocator.allocate(bars)
    var taken: [Range<UInt64>] = []
    for (bar, address) in zip(bars, addresses) {
      #expect(address % bar.size == 0)
      let range = address..<address + bar.size
      let window =
        bar.kind == .io ? Self.windows.io : address < 1 << 32 ? Self.windows.memory32 : Self.windows.memory64
      #expect(range.clamped(to: window) == range)
      #expect((bar.kind == .io) == Self.windows.io.contains(address))
      #expect(!taken.contains { $0.overlaps(range) })
      taken.append(range)
    }
  }

  @Test("prefetchable and large 64-bit BARs go above 4 GiB, other small BARs below")
  func preference() throws {
    var allocator = Self.windows
    let addresses = try allocator.allocate([
      Self.bar(.memory64, 16 << 10), Self.bar(.memory64, 16 << 10, prefetchable: true),
      Self.bar(.memory64, 64 << 20), Self.bar(.memory32, 16 << 10, prefetchable: true),
    ])
    #expect(addresses.map { $0 >= 1 << 32 } == [false, true, true, false])
  }

  @Test("a BAR smaller than a page shares its page with no other BAR")
  func smallerThanPage() throws {
    var allocator = Self.windows
    let addresses = try allocator.allocate([Self.bar(.memory32, 16), Self.bar(.memory32, 256)])
    #expect(addresses[0] / 4096 != addresses[1] / 4096)
    #expect(addresses.allSatisfy { $0 % 4096 == 0 })
  }

  @Test("a 64-bit BAR uses the other window if one is full; a 32-bit BAR cannot")
  func overflow() throws {
    var allocator = BARAllocator(io: 0..<0, memory32: 0..<0x10_0000, memory64: 1 << 32..<1 << 32 | 0x10_0000)
    let addresses = try allocator.allocate([
      Self.bar(.memory64, 0x10_0000), Self.bar(.memory64, 0x10_0000, prefetchable: true),
    ])
    #expect(Set(addresses) == [0, 1 << 32])
    allocator.memory64 = 1 << 32..<1 << 33
    #expect(throws: BARAllocator.NoRoom(position: 1, size: 4096)) {
      try allocator.allocate([Self.bar(.memory64, 4096), Self.bar(.memory32, 4096)])
    }
  }

  @Test("reports the position and size of a BAR that does not fit")
  func noRoom() {
    var allocator = Self.windows
    #expect(throws: BARAllocator.NoRoom(position: 1, size: 1 << 30)) {
      try allocator.allocate([Self.bar(.io, 4), Self.bar(.memory32, 1 << 30)])
    }
    #expect(throws: BARAllocator.NoRoom(position: 0, size: 1 << 63)) {
      try allocator.allocate([Self.bar(.memory64, 1 << 63)])
    }
    #expect(throws: BARAllocator.NoRoom(position: 0, size: 0x8000)) {
      try allocator.allocate([Self.bar(.io, 0x8000)])
    }
  }

  @Test("a window at the end of the address space does not wrap around")
  func wraps() {
    var allocator = BARAllocator(io: 0..<0, memory32: 0..<0, memory64: UInt64.max - 0x1FFF..<UInt64.max)
    #expect(throws: BARAllocator.NoRoom(position: 0, size: 0x4000)) {
      try allocator.allocate([Self.bar(.memory64, 0x4000)])
    }
  }
}
