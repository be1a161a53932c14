// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing

@testable import Passthrough

@Suite struct AddressDecoderTests {
  private static let bars = [
    BAR(index: 0, kind: .memory32, size: 0x1000), BAR(index: 1, kind: .io, size: 32),
    BAR(index: 2, kind: .memory64, size: 1 << 30),
  ]

  private static func space() -> ConfigSpace {
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: bars)
    for (bar, address) in zip(bars, [0xC000_0000, 0xC020, 1 << 40] as [UInt64]) {
      space.setBase(of: bar, to: address)
    }
    return space
  }

  @Test("finds the BAR of an address, from its first byte to its last")
  func find() throws {
    let decoder = Decoder()
    #expect(decoder.find(0xC000_0000, isPort: false) == nil, "no BAR has an address")
    decoder.update(Self.space(), isAnswering: true)
    for (address, bar, offset) in [
      (0xC000_0000, 0, 0), (0xC000_0FFF, 0, 0xFFF), (1 << 40, 2, 0), (1 << 40 | 0x3FFF_FFFF, 2, 0x3FFF_FFFF),
    ] as [(UInt64, Int, UInt64)] {
      let found = try #require(decoder.find(address, isPort: false))
      #expect(found == BARLocation(function: 8, bar: bar, offset: offset))
    }
    for address in [0, 0xBFFF_FFFF, 0xC000_1000, 0xC020, 1 << 40 | 0x4000_0000, .max] as [UInt64] {
      #expect(decoder.find(address, isPort: false) == nil)
    }
  }

  @Test("keeps ports and memory apart")
  func ports() throws {
    let decoder = Decoder()
    decoder.update(Self.space(), isAnswering: true)
    #expect(try #require(decoder.find(0xC03F, isPort: true)) == BARLocation(function: 8, bar: 1, offset: 31))
    #expect(decoder.find(0xC040, isPort: true) == nil)
    #expect(decoder.find(0xC000_0000, isPort: true) == nil)
  }

  @Test("finds a moved BAR only at its new address")
  func move() throws {
    let decoder = Decoder()
    var space = Self.space()
    decoder.update(space, isAnswering: true)
    _ = space.write(offset: 0x10, width: 4, 0xD000_0000)
    decoder.update(space, isAnswering: true)
    #expect(decoder.find(0xC000_0000, isPort: false) == nil)
    #expect(
      try #require(decoder.find(0xD000_0010, isPort: false))
        == BARLocation(function: 8, bar: 0, offset: 0x10))
  }

  @Test("does not wrap a BAR at the end of the address space")
  func end() throws {
    let decoder = Decoder()
    var space = Self.space()
    _ = space.write(offset: 0x18, width: 4, 0xFFFF_FFFF)
    _ = space.write(offset: 0x1C, width: 4, 0xFFFF_FFFF)
    decoder.update(space, isAnswering: true)
    let last = BARLocation(function: 8, bar: 2, offset: (1 << 30) - 1)
    #expect(decoder.find(.max, isPort: false) == last)
    #expect(decoder.find(0, isPort: false) == nil)
  }

  @Test(
    "finds the function that answers if BARs of two functions overlap, by its enable bits and its state")
  func enabled() {
    let decoder = AddressDecoder()
    let starts = (decoder.reserve(3), decoder.reserve(3))
    var (first, second) = (Self.space(), Self.space())
    func function(_ address: UInt64, isPort: Bool = false) -> Int? {
      decoder.find(address, isPort: isPort)?.function
    }
    func update(isAnswering: Bool = true) {
      decoder.update(starts.0, function: 8, first, isAnswering: true)
      decoder.update(starts.1, function: 16, second, isAnswering: isAnswering)
    }
    update()
    #expect(function(0xC000_0000) == 8, "neither answers: the first function counts the access")
    _ = second.write(offset: 4, width: 2, 1)
    update()
    #expect(function(0xC000_0000) == 8 && function(0xC020, isPort: true) == 16)
    _ = second.write(offset: 4, width: 2, 2)
    update()
    #expect(function(0xC000_0000) == 16 && function(0xC020, isPort: true) == 8)
    update(isAnswering: false)
    #expect(function(0xC000_0000) == 8)
    _ = first.write(offset: 4, width: 2, 2)
    update()
    #expect(function(0xC000_0000) == 8)
  }

  @Test("finds an enabled BAR if BARs of one function overlap")
  func overlap() {
    let bars = [
      BAR(index: 0, kind: .memory32, size: 0x1000), BAR(index: 6, kind: .rom, size: 0x1000),
    ]
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: bars)
    for bar in bars { space.setBase(of: bar, to: 0xC000_0000) }
    _ = space.write(offset: 4, width: 2, 2)
    let decoder = Decoder()
    decoder.update(space, isAnswering: true)
    #expect(decoder.find(0xC000_0010, isPort: false) == BARLocation(function: 8, bar: 0, offset: 0x10))
    space.setBase(of: bars[0], to: 0xD000_0000)
    decoder.update(space, isAnswering: true)
    #expect(decoder.find(0xC000_0010, isPort: false) == BARLocation(function: 8, bar: 6, offset: 0x10))
    _ = space.write(offset: 0x30, width: 4, 0xC000_0001)
    decoder.update(space, isAnswering: true)
    #expect(decoder.find(0xC000_0010, isPort: false) == BARLocation(function: 8, bar: 6, offset: 0x10))
  }

  /// Adds a function with a BAR of 256 bytes and a BAR of 8 KiB. Its memory is on or off.
  private static func add(_ small: UInt64, _ large: UInt64, isOn: Bool = true, to decoder: AddressDecoder) {
    let bars = [
      BAR(index: 0, kind: .memory32, size: 256), BAR(index: 1, kind: .memory64, size: 8192),
    ]
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: bars)
    space.setBase(of: bars[0], to: small)
    space.setBase(of: bars[1], to: large)
    _ = space.write(offset: 4, width: 2, isOn ? 2 : 0)
    decoder.update(decoder.reserve(bars.count), function: 8, space, isAnswering: true)
  }

  @Test("reports a page as shared if several enabled BARs, of one or more functions, have bytes in it")
  func sharedPages() {
    let decoder = AddressDecoder()
    Self.add(0xC000_0100, 0xC000_2000, to: decoder)
    #expect(!decoder.isShared(0xC000_0100, size: 1))
    #expect(!decoder.isShared(0xC000_3FFF, size: 1))
    Self.add(0xC000_0200, 0xD000_0000, isOn: false, to: decoder)
    #expect(!decoder.isShared(0xC000_0000, size: 1), "the other function's memory is off")
    Self.add(0xC000_0F00, 0xC000_2000, to: decoder)
    #expect(decoder.isShared(0xC000_0100, size: 1))
    #expect(decoder.isShared(0xC000_3000, size: 1), "two BARs overlap")
    #expect(!decoder.isShared(0xC000_1000, size: 1))
    Self.add(0xFFFF_FF00, .max - 8191, to: decoder)
    #expect(!decoder.isShared(.max, size: 1) && !decoder.isShared(0xFFFF_FFFF, size: 1))
    #expect(!decoder.isShared(0, size: 1))
    Self.add(0xFFFF_F000, .max - 8191, to: decoder)
    #expect(decoder.isShared(.max, size: 1) && decoder.isShared(0xFFFF_F800, size: 1))
  }

  @Test("reports a range of pages as shared if one of its pages is shared")
  func sharedRanges() {
    let decoder = AddressDecoder()
    Self.add(0xC000_0100, 0xD000_0000, to: decoder)
    Self.add(0xC000_2F00, 0xE000_0000, to: decoder)
    #expect(!decoder.isShared(0xC000_0000, size: 0x2000))
    #expect(decoder.isShared(0xC000_0000, size: 0x3000))
    #expect(!decoder.isShared(0xD000_0000, size: 0x2000) && !decoder.isShared(0xCFFF_F000, size: 0x4000))
    Self.add(0xD000_1000, 0xF000_0000, to: decoder)
    #expect(decoder.isShared(0xD000_0000, size: 0x2000) && !decoder.isShared(0xD000_0000, size: 0x1000))
    #expect(decoder.isShared(0, size: .max))
  }

  @Test("counts changes only")
  func changes() {
    let decoder = Decoder()
    let before = decoder.decoder.changes
    var space = Self.space()
    decoder.update(space, isAnswering: true)
    #expect(decoder.decoder.changes == before + 1)
    decoder.update(space, isAnswering: true)
    #expect(decoder.decoder.changes == before + 1)
    _ = space.write(offset: 4, width: 2, 2)
    decoder.update(space, isAnswering: true)
    #expect(decoder.decoder.changes == before + 2)
  }
}

/// A decoder of one function.
private struct Decoder {
  let decoder = AddressDecoder()
  private let start: Int

  init() { start = decoder.reserve(3) }

  func update(_ config: ConfigSpace, isAnswering: Bool) {
    decoder.update(start, function: 8, config, isAnswering: isAnswering)
  }

  func find(_ address: UInt64, isPort: Bool) -> BARLocation? { decoder.find(address, isPort: isPort) }
}
