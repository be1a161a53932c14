// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Boot

@Suite("Initrd placement")
struct InitrdTests {
  @Test("the initrd is at the highest page boundary that fits")
  func placement() {
    #expect(Initrd.highest(1, in: 0x1000..<0x5000) == 0x4000)
    #expect(Initrd.highest(0x4000, in: 0x1000..<0x5000) == 0x1000)
    #expect(Initrd.highest(0x4001, in: 0x1000..<0x5000) == nil)
    #expect(Initrd.highest(0x1000, in: 0x1000..<0x5800) == 0x4000)
    #expect(Initrd.highest(0x100, in: 0x1800..<0x1A00) == nil, "the range has no page boundary")
    #expect(Initrd.highest(.max, in: 0x1000..<0x5000) == nil)
  }

  @Test("any size and range give an aligned address within the range")
  func property() {
    var random = SeededGenerator(state: 2)
    for _ in 0..<10_000 {
      let start = UInt64.random(in: 0..<1 << 33, using: &random)
      let range = start..<start + .random(in: 0..<1 << 20, using: &random)
      let size = UInt64.random(in: 1..<1 << 20, using: &random)
      guard let address = Initrd.highest(size, in: range) else { continue }
      #expect(address % 4096 == 0 && address >= range.lowerBound && address + size <= range.upperBound)
      #expect(address + 4096 + size > range.upperBound, "a higher page boundary fits")
    }
  }
}
