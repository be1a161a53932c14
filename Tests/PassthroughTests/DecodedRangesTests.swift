// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing

@testable import Passthrough

@Suite struct DecodedRangesTests {
  private static let bars = [
    BaseAddress(index: 0, kind: .memory32, size: 0x1000), BaseAddress(index: 1, kind: .io, size: 32),
    BaseAddress(index: 2, kind: .memory64, size: 1 << 30),
  ]

  private static func space() -> ConfigSpace {
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: bars)
    for (bar, address) in zip(bars, [0xC000_0000, 0xC020, 1 << 40] as [UInt64]) {
      space.setBase(of: bar, to: address)
    }
    return space
  }

  @Test("an address is found in its BAR, from the first byte to the last")
  func find() throws {
    let ranges = DecodedRanges()
    #expect(ranges.find(0xC000_0000, isPort: false) == nil, "nothing has been placed")
    ranges.update(Self.space(), isAnswering: true)
    for (address, bar, offset) in [
      (0xC000_0000, 0, 0), (0xC000_0FFF, 0, 0xFFF), (1 << 40, 2, 0), (1 << 40 | 0x3FFF_FFFF, 2, 0x3FFF_FFFF),
    ] as [(UInt64, Int, UInt64)] {
      let found = try #require(ranges.find(address, isPort: false))
      #expect(found == BarPlace(bar: bar, offset: offset, isEnabled: false))
    }
    for address in [0, 0xBFFF_FFFF, 0xC000_1000, 0xC020, 1 << 40 | 0x4000_0000, .max] as [UInt64] {
      #expect(ranges.find(address, isPort: false) == nil)
    }
  }

  @Test("ports and memory are apart")
  func ports() throws {
    let ranges = DecodedRanges()
    ranges.update(Self.space(), isAnswering: true)
    #expect(try #require(ranges.find(0xC03F, isPort: true)) == BarPlace(bar: 1, offset: 31, isEnabled: false))
    #expect(ranges.find(0xC040, isPort: true) == nil)
    #expect(ranges.find(0xC000_0000, isPort: true) == nil)
  }

  @Test("a BAR that moves is found at its new place alone")
  func move() throws {
    let ranges = DecodedRanges()
    var space = Self.space()
    ranges.update(space, isAnswering: true)
    _ = space.write(offset: 0x10, width: 4, 0xD000_0000)
    ranges.update(space, isAnswering: true)
    #expect(ranges.find(0xC000_0000, isPort: false) == nil)
    #expect(
      try #require(ranges.find(0xD000_0010, isPort: false))
        == BarPlace(bar: 0, offset: 0x10, isEnabled: false))
  }

  @Test("a BAR at the end of the address space does not wrap")
  func end() throws {
    let ranges = DecodedRanges()
    var space = Self.space()
    _ = space.write(offset: 0x18, width: 4, 0xFFFF_FFFF)
    _ = space.write(offset: 0x1C, width: 4, 0xFFFF_FFFF)
    ranges.update(space, isAnswering: true)
    let last = BarPlace(bar: 2, offset: (1 << 30) - 1, isEnabled: false)
    #expect(ranges.find(.max, isPort: false) == last)
    #expect(ranges.find(0, isPort: false) == nil)
  }

  @Test("a BAR says whether it answers, by its enable bits and by the function's state")
  func enabled() {
    let ranges = DecodedRanges()
    var space = Self.space()
    func isEnabled(_ address: UInt64, isPort: Bool = false) -> Bool? {
      ranges.find(address, isPort: isPort)?.isEnabled
    }
    _ = space.write(offset: 4, width: 2, 1)
    ranges.update(space, isAnswering: true)
    #expect(isEnabled(0xC000_0000) == false)
    #expect(isEnabled(0xC020, isPort: true) == true)
    _ = space.write(offset: 4, width: 2, 2)
    ranges.update(space, isAnswering: true)
    #expect(isEnabled(0xC000_0000) == true)
    #expect(isEnabled(0xC020, isPort: true) == false)
    ranges.update(space, isAnswering: false)
    #expect(isEnabled(0xC000_0000) == false)
  }

  @Test("where BARs of a function overlap, an enabled one answers")
  func overlap() {
    let bars = [
      BaseAddress(index: 0, kind: .memory32, size: 0x1000), BaseAddress(index: 6, kind: .rom, size: 0x1000),
    ]
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: bars)
    for bar in bars { space.setBase(of: bar, to: 0xC000_0000) }
    _ = space.write(offset: 4, width: 2, 2)
    let ranges = DecodedRanges()
    ranges.update(space, isAnswering: true)
    #expect(ranges.find(0xC000_0010, isPort: false) == BarPlace(bar: 0, offset: 0x10, isEnabled: true))
    space.setBase(of: bars[0], to: 0xD000_0000)
    ranges.update(space, isAnswering: true)
    #expect(ranges.find(0xC000_0010, isPort: false) == BarPlace(bar: 6, offset: 0x10, isEnabled: false))
    _ = space.write(offset: 0x30, width: 4, 0xC000_0001)
    ranges.update(space, isAnswering: true)
    #expect(ranges.find(0xC000_0010, isPort: false) == BarPlace(bar: 6, offset: 0x10, isEnabled: true))
  }

  /// Adds a function with a BAR of 256 bytes and one of 8 KiB, whose memory is on or off.
  private static func add(_ small: UInt64, _ large: UInt64, isOn: Bool = true, to decoder: AddressDecoder) {
    let bars = [
      BaseAddress(index: 0, kind: .memory32, size: 256), BaseAddress(index: 1, kind: .memory64, size: 8192),
    ]
    var space = ConfigSpace([UInt8](repeating: 0, count: 256), bars: bars)
    space.setBase(of: bars[0], to: small)
    space.setBase(of: bars[1], to: large)
    _ = space.write(offset: 4, width: 2, isOn ? 2 : 0)
    let ranges = DecodedRanges()
    #expect(ranges.update(space, isAnswering: true))
    #expect(!ranges.update(space, isAnswering: true), "nothing has changed")
    decoder.update(decoder.reserve(bars.count), space, isAnswering: true)
  }

  @Test("a page is shared if BARs of one or of several functions that are decoded have bytes in it")
  func sharedPages() {
    let decoder = AddressDecoder()
    Self.add(0xC000_0100, 0xC000_2000, to: decoder)
    #expect(!decoder.isShared(0xC000_0100, size: 1))
    #expect(!decoder.isShared(0xC000_3FFF, size: 1))
    Self.add(0xC000_0200, 0xD000_0000, isOn: false, to: decoder)
    #expect(!decoder.isShared(0xC000_0000, size: 1), "memory of the other function is off")
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

  @Test("a range of several pages is shared if one of its pages is")
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

  @Test("changes are counted")
  func changes() {
    let decoder = AddressDecoder()
    let before = decoder.changes
    Self.add(0, 0, to: decoder)
    #expect(decoder.changes > before)
  }
}
