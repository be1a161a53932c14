// SPDX-License-Identifier: Apache-2.0

import Fakes
import Seams
import Synchronization
import Testing

@testable import GuestMemory
@testable import Passthrough

@Suite struct DMAMapperTests {
  private static let regions = [
    GuestMemory.Region(base: GuestAddress(0), size: 0xC000_0000, hostAddress: 0),
    GuestMemory.Region(base: GuestAddress(1 << 32), size: 1 << 30, hostAddress: 0),
  ]

  @Test(
    "finds an overlap of a window with guest RAM for any start and end",
    arguments: [
      (0, 4096, true), (0xBFFF_F000, 4096, true), (0xC000_0000, 4096, false), (0xC000_0000, 1 << 30, false),
      (0xC000_0000, (1 << 30) + 1, true), (0xBFFF_F000, 1 << 40, true), (1 << 32, 4096, true),
      (5 << 30, 1 << 30, false), (0, .max, true), (1 << 63, 1 << 63, false), (.max - 4095, 4096, false),
      ((1 << 32) + (1 << 30) - 1, 1, true),
    ] as [(UInt64, UInt64, Bool)])
  func overlap(_ base: UInt64, _ size: UInt64, _ expected: Bool) {
    #expect((DMARange.overlap(base, size, Self.regions) != nil) == expected)
  }

  @Test(
    "translates a range up to 2^64 - 1 and refuses a range that wraps",
    arguments: [
      (UInt64.max - 4095, 4096, true), (.max - 4095, 4097, false), (.max - 4095, 8192, false),
      (1 << 63, 1 << 63, true), (1 << 63, .max, false), (0x1000, 0x1000, false), (0, .max, false),
      (1 << 40, 0, false),
    ] as [(UInt64, UInt64, Bool)])
  func translatable(_ start: UInt64, _ size: UInt64, _ expected: Bool) {
    #expect(DMARange.isTranslatable(start, size, [0x10_0000...UInt64.max]) == expected)
  }

  @Test("the spaces are forgotten only after guest RAM is pinned, and then have no mapping")
  func removeSpaces() throws {
    let world = FakeWorld()
    let memory = try GuestMemory(size: 4 << 20)
    let mapper = try DMAMapper([.init(FakeSpace(world), devices: ["d"])], memory: memory)
    for piece in memory.pieces(of: mapper.pieceSize) { try mapper.pinMemory(piece) { _, _, _ in } }
    #expect(try !mapper.removeSpaces { _, _, _ in })
    #expect(world.state.withLock { !$0.spaces[0].isEmpty } && mapper.windowMappings.count == 1)
    mapper.finishPinning(nil)
    #expect(try mapper.removeSpaces { _, _, _ in })
    #expect(world.state.withLock { $0.spaces[0].isEmpty } && mapper.windowMappings.isEmpty)
  }

  @Test("translates every range that does not wrap if the IOMMU reports no ranges")
  func unlimited() {
    #expect(DMARange.isTranslatable(.max - 4095, 4096, []))
    #expect(!DMARange.isTranslatable(.max - 4095, 4097, []))
  }

  @Test(
    "guest RAM takes at most about a thousand mappings, and at most a quarter of the available mappings",
    arguments: [
      (512 << 20, 65535, 128 << 20), (64 << 30, 65535, 128 << 20), (128 << 30, 65535, 128 << 20),
      (129 << 30, 65535, 256 << 20), (2 << 40, 65535, 2 << 30), (512 << 20, 4, 512 << 20),
      (64 << 30, 64, 4 << 30), (1 << 30, 0, 1 << 30),
    ] as [(UInt64, Int, UInt64)])
  func ram(_ memory: UInt64, _ mappings: Int, _ size: UInt64) {
    #expect(DMARange.pieceSize(memory: memory, mappings: mappings) == size)
  }
}

/// Tests of guest RAM and windows in several I/O address spaces.
@Suite struct DMASpacesTests {
  private let world = FakeWorld()
  private let memory: GuestMemory

  init() throws { memory = try GuestMemory(size: 512 << 20) }

  private func mapper(
    _ spaces: [(ranges: [ClosedRange<UInt64>], mappings: Int?)]
  ) throws -> DMAMapper<FakeSpace> {
    try DMAMapper(
      spaces.enumerated().map { index, space in
        try .init(FakeSpace(world, ranges: space.ranges, mappings: space.mappings), devices: ["\(index)"])
      }, memory: memory)
  }

  @Test("an addition that fails or is stopped reports what it unmaps, and names RAM that stays mapped")
  func addition() throws {
    let mapper = try mapper([])
    let space = try DMAMapper<FakeSpace>.Member(FakeSpace(world), devices: ["d"])
    var (mapped, unmapped, calls): (UInt64, UInt64, Int) = (0, 0, 0)
    func add(stoppingAfter count: Int) throws(OperationError) {
      (mapped, unmapped, calls) = (0, 0, 0)
      try mapper.add(
        space,
        shouldStop: {
          calls += 1
          return calls > count
        }, mapped: { _, size, _ in mapped += size }, unmapped: { _, size, _ in unmapped += size })
    }
    #expect(throws: OperationError("the VM is ending")) { try add(stoppingAfter: 2) }
    #expect(mapped == 256 << 20 && unmapped == mapped && mapper.windowMappings.isEmpty)
    #expect(world.state.withLock { $0.spaces.allSatisfy(\.isEmpty) })
    world.fail("unmap")
    let error = #expect(throws: OperationError.self) { try add(stoppingAfter: 1) }
    #expect(
      error?.description.hasPrefix("the VM is ending; guest RAM stays mapped: ") == true && unmapped == 0)
    world.succeed()
    _ = try space.space.unmapAll(iova: 0, size: memory.size)
    try add(stoppingAfter: 100)
    #expect(mapped == memory.size && mapper.windowMappings.count == 1)
  }

  @Test("maps, reports and unmaps each piece of RAM in every space")
  func pins() throws {
    let mapper = try mapper([([], nil), ([], nil)])
    let pieces = memory.pieces(of: mapper.pieceSize)
    #expect(pieces.count == 4)
    var reported: [UInt64] = []
    for piece in pieces { try mapper.pinMemory(piece) { iova, size, _ in reported += [iova, size] } }
    #expect(reported.count == 16 && reported[2] == 0 && reported[12] == pieces[3].base.rawValue)
    for space in world.state.withLock({ $0.spaces }) {
      #expect(space.count == 4)
      for piece in pieces {
        let mapped = space[piece.base.rawValue]
        #expect(mapped?.size == piece.size && mapped?.host == piece.hostAddress)
      }
    }
    reported = []
    try mapper.unpinMemory { iova, size, _ in reported += [iova, size] }
    #expect(reported == [0, memory.size, 0, memory.size])
    #expect(world.state.withLock { $0.spaces.allSatisfy(\.isEmpty) })
    reported = []
    try mapper.unpinMemory { iova, size, _ in reported += [iova, size] }
    #expect(reported == [], "nothing was mapped")
  }

  @Test("sizes the pieces for the space with the fewest mappings, and leaves the rest for windows")
  func mappings() throws {
    let mapper = try mapper([([], 65535), ([], 8)])
    #expect(mapper.pieceSize == 256 << 20)
    #expect(mapper.windowMappings == [65533, 6])
    #expect(try self.mapper([]).windowMappings == [])
  }

  @Test("the first address that no device can use follows the last range of the narrowest IOMMU")
  func limit() throws {
    let narrow: [ClosedRange<UInt64>] = [0...0xFEDF_FFFF, 0xFEF0_0000...0x7F_FFFF_FFFF]
    #expect(try mapper([(narrow, nil), ([0...UInt64.max], nil)]).limit == 0x80_0000_0000)
    #expect(try mapper([([0...UInt64.max], nil)]).limit == .max)
    #expect(try mapper([([], nil)]).limit == nil)
  }

  @Test("finds RAM that one of the IOMMUs does not translate")
  func unreachable() throws {
    #expect(try mapper([([], nil), ([0...0x1FFF_FFFF], nil)]).unreachable() == nil)
    #expect(try mapper([([], nil), ([0...0x1FFF_FFFE], nil)]).unreachable() == memory.regions[0])
    #expect(try mapper([([1...0x1FFF_FFFF], nil)]).unreachable() == memory.regions[0])
  }

  @Test("maps and unmaps a window in its own space only")
  func windows() throws {
    let mapper = try mapper([([], nil), ([], nil)])
    try mapper.map(windows: 0xD000_0000, size: 0x2000, memory: .host(0x7000), in: 1)
    let spaces = world.state.withLock { $0.spaces }
    #expect(spaces.map(\.count) == [0, 1])
    #expect(spaces[1][0xD000_0000]?.size == 0x2000 && spaces[1][0xD000_0000]?.host == 0x7000)
    try mapper.unmap(windows: 0xD000_0000, size: 0x2000, in: 0)
    #expect(world.state.withLock { $0.spaces[1].count } == 1)
    try mapper.unmap(windows: 0xD000_0000, size: 0x2000, in: 1)
    #expect(world.state.withLock { $0.spaces[1].isEmpty })
    #expect(mapper.peers(in: 0, of: "1") == "0" && mapper.peers(in: 1, of: "1") == "1")
  }
}
