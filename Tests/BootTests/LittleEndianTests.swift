// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Boot

@Suite("Little-endian numbers")
struct LittleEndianTests {
  @Test("a number is read only if all of its bytes exist")
  func bounds() {
    let bytes: [UInt8] = [1, 2, 3, 4]
    #expect(bytes.little(UInt32.self, at: 0) == 0x0403_0201)
    #expect(bytes.little(UInt16.self, at: 2) == 0x0403)
    #expect(bytes.little(UInt8.self, at: 3) == 4)
    for offset in [1, 2, 4, 100, -1, Int.max, Int.min] {
      #expect(bytes.little(UInt32.self, at: offset) == nil)
    }
    #expect(([] as [UInt8]).little(UInt64.self, at: 0) == nil)
  }

  @Test("a number that is appended or set reads back")
  func roundTrip() {
    var bytes: [UInt8] = []
    bytes.append(little: UInt16(0x1234))
    bytes.append(little: UInt64(0x1122_3344_5566_7788))
    #expect(bytes.prefix(3) == [0x34, 0x12, 0x88])
    bytes.set(UInt32(0xAABB_CCDD), at: 4)
    #expect(bytes.little(UInt64.self, at: 2) == 0x1122_AABB_CCDD_7788)
  }

  @Test("text is padded or cut to its width")
  func text() {
    var bytes: [UInt8] = []
    bytes.append("AB", width: 4, fill: 0x20)
    bytes.append("ABCDE", width: 4, fill: 0x20)
    #expect(bytes == Array("AB  ABCD".utf8))
  }
}
