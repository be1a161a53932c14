// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Testing

@testable import Boot

@Suite("E820")
struct MemoryMapTests {
  static let low: [MemoryMap.Entry] = [
    MemoryMap.Entry(range: 0..<0x9_FC00, kind: .usable),
    MemoryMap.Entry(range: 0x9_FC00..<0x10_0000, kind: .reserved),
  ]
  static let ecam = MemoryMap.Entry(range: 0xE000_0000..<0xF000_0000, kind: .reserved)

  @Test("128 MiB of RAM are below the hole")
  func small() throws {
    let map = MemoryMap(try .mebibytes(128))
    #expect(
      map.entries == Self.low + [
        MemoryMap.Entry(range: 0x10_0000..<0x800_0000, kind: .usable), Self.ecam,
      ])
  }

  @Test("3 GiB of RAM end at the hole")
  func full() throws {
    let map = MemoryMap(try .mebibytes(3072))
    #expect(
      map.entries == Self.low + [
        MemoryMap.Entry(range: 0x10_0000..<0xC000_0000, kind: .usable), Self.ecam,
      ])
  }

  @Test("5 GiB of RAM continue at 4 GiB")
  func large() throws {
    let map = MemoryMap(try .mebibytes(5120))
    #expect(
      map.entries == Self.low + [
        MemoryMap.Entry(range: 0x10_0000..<0xC000_0000, kind: .usable), Self.ecam,
        MemoryMap.Entry(range: 0x1_0000_0000..<0x1_8000_0000, kind: .usable),
      ])
  }

  @Test("RAM that ends below 1 MiB makes no empty entries")
  func tiny() {
    let map = MemoryMap(ram: [0..<0xA_0000])
    #expect(map.entries == Self.low + [Self.ecam])
  }

  @Test("every byte of RAM is in exactly one entry")
  func property() {
    var random = SeededGenerator(state: 4)
    for _ in 0..<500 {
      let end = UInt64.random(in: 1...0xC0000, using: &random) << 12
      let entries = MemoryMap(ram: [0..<end]).entries
      for (entry, next) in zip(entries, entries.dropFirst()) {
        #expect(!entry.range.isEmpty && entry.range.upperBound <= next.range.lowerBound)
      }
      let usable = entries.filter { $0.kind == .usable }
        .reduce(UInt64(0)) { $0 + $1.range.upperBound - $1.range.lowerBound }
      let hidden = min(end, 0x10_0000) - min(end, 0x9_FC00)
      #expect(usable == end - hidden)
    }
  }
}
