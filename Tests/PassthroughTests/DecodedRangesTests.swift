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
    ranges.update(Self.space())
    for (address, bar, offset) in [
      (0xC000_0000, 0, 0), (0xC000_0FFF, 0, 0xFFF), (1 << 40, 2, 0), (1 << 40 | 0x3FFF_FFFF, 2, 0x3FFF_FFFF),
    ] as [(UInt64, Int, UInt64)] {
      let found = try #require(ranges.find(address, isPort: false))
      #expect(found == (bar, offset))
    }
    for address in [0, 0xBFFF_FFFF, 0xC000_1000, 0xC020, 1 << 40 | 0x4000_0000, .max] as [UInt64] {
      #expect(ranges.find(address, isPort: false) == nil)
    }
  }

  @Test("ports and memory are apart")
  func ports() throws {
    let ranges = DecodedRanges()
    ranges.update(Self.space())
    #expect(try #require(ranges.find(0xC03F, isPort: true)) == (1, 31))
    #expect(ranges.find(0xC040, isPort: true) == nil)
    #expect(ranges.find(0xC000_0000, isPort: true) == nil)
  }

  @Test("a BAR that moves is found at its new place alone")
  func move() throws {
    let ranges = DecodedRanges()
    var space = Self.space()
    ranges.update(space)
    _ = space.write(offset: 0x10, width: 4, 0xD000_0000)
    ranges.update(space)
    #expect(ranges.find(0xC000_0000, isPort: false) == nil)
    #expect(try #require(ranges.find(0xD000_0010, isPort: false)) == (0, 0x10))
  }

  @Test("a BAR at the end of the address space does not wrap")
  func end() throws {
    let ranges = DecodedRanges()
    var space = Self.space()
    _ = space.write(offset: 0x18, width: 4, 0xFFFF_FFFF)
    _ = space.write(offset: 0x1C, width: 4, 0xFFFF_FFFF)
    ranges.update(space)
    #expect(try #require(ranges.find(.max, isPort: false)) == (2, (1 << 30) - 1))
    #expect(ranges.find(0, isPort: false) == nil)
  }
}
