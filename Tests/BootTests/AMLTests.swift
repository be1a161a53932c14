// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Boot

@Suite("AML")
struct AMLTests {
  @Test(
    "integers have their shortest encoding",
    arguments: [
      (0, [0x00]), (1, [0x01]), (2, [0x0A, 2]), (0xFF, [0x0A, 0xFF]), (0x100, [0x0B, 0, 1]),
      (0x1_0000, [0x0C, 0, 0, 1, 0]), (0x1_0000_0000, [0x0E, 0, 0, 0, 0, 1, 0, 0, 0]),
    ] as [(UInt64, [UInt8])])
  func integers(value: UInt64, bytes: [UInt8]) {
    #expect(AML.integer(value) == bytes)
  }

  @Test("EISA IDs are compressed")
  func eisaIDs() {
    #expect(AML.eisaID("PNP0A08") == [0x0C, 0x41, 0xD0, 0x0A, 0x08])
    #expect(AML.eisaID("PNP0501") == [0x0C, 0x41, 0xD0, 0x05, 0x01])
  }

  @Test("name segments are padded and joined, and a leading backslash is kept")
  func names() {
    #expect(AML.nameString("COM1") == Array("COM1".utf8))
    #expect(AML.nameString("_S5") == Array("_S5_".utf8))
    #expect(AML.nameString("\\_SB") == Array("\\_SB_".utf8))
    #expect(AML.nameString("\\_SB.PCI0") == Array("\\".utf8) + [0x2E] + Array("_SB_PCI0".utf8))
    #expect(AML.nameString("A.B.C") == [0x2F, 3] + Array("A___B___C___".utf8))
  }

  @Test("a length includes its own bytes", arguments: [0, 62, 63, 4092, 4093, 4094, 0x1_0000, 0x10_0000])
  func lengths(count: Int) {
    let bytes = AML.sized([UInt8](repeating: 0xAA, count: count))
    let more = Int(bytes[0] >> 6)
    var length = more == 0 ? Int(bytes[0] & 0x3F) : Int(bytes[0] & 0xF)
    for index in 0..<more { length |= Int(bytes[1 + index]) << (4 + 8 * index) }
    #expect(length == bytes.count)
    #expect(bytes.count == count + 1 + more)
  }

  @Test("resource descriptors have the lengths that ACPI defines")
  func resources() {
    #expect(AML.ports(0x3F8, count: 8) == [0x47, 1, 0xF8, 3, 0xF8, 3, 1, 8])
    #expect(AML.edgeInterrupt(4) == [0x89, 6, 0, 3, 1, 4, 0, 0, 0])
    #expect(
      AML.busNumbers(0...0) == [0x88, 13, 0, 2, 0x0C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    #expect(AML.memoryWindow32(0xC000_0000..<0xE000_0000).count == 26)
    let window = AML.memoryWindow64(0x80_0000_0000..<0x100_0000_0000)
    #expect(window.count == 46)
    #expect(window.little(UInt16.self, at: 1) == 43)
    #expect(window.little(UInt64.self, at: 14) == 0x80_0000_0000)
    #expect(window.little(UInt64.self, at: 22) == 0xFF_FFFF_FFFF)
    #expect(window.little(UInt64.self, at: 38) == 0x80_0000_0000)
    #expect(AML.resources([]) == [0x11, 5, 0x0A, 2, 0x79, 0])
  }
}
