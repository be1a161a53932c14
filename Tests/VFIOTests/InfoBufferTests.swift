// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import VFIO

@Suite struct InfoBufferTests {
  /// Returns a buffer with an answer of `size` bytes. Each capability has an ID and a link to the next.
  private static func buffer(
    size: Int = 256, _ capabilities: [(offset: Int, id: UInt16, next: UInt32)] = []
  ) throws -> InfoBuffer {
    var answer = [UInt8](repeating: 0, count: size)
    for (offset, id, next) in capabilities {
      answer[offset] = UInt8(id & 0xFF)
      answer[offset + 1] = UInt8(id >> 8)
      answer[offset + 2] = 1  // the version, which does not belong to the ID
      for byte in 0..<4 { answer[offset + 4 + byte] = UInt8(truncatingIfNeeded: next >> UInt32(byte * 8)) }
    }
    // SAFETY: writes no more bytes than the buffer has.
    return try unsafe InfoBuffer { buffer throws(KernelError) in
      for index in 0..<min(buffer.count, size) { unsafe buffer[index] = answer[index] }
      return Int32(size)
    }
  }

  @Test("a capability is found by its ID along the chain")
  func chain() throws {
    let buffer = try Self.buffer([(32, 1, 64), (64, 0x102, 128), (128, 3, 0)])
    #expect(buffer.capability(1, from: 32) == 32)
    #expect(buffer.capability(0x102, from: 32) == 64)
    #expect(buffer.capability(3, from: 32) == 128)
    #expect(buffer.capability(4, from: 32) == nil)
    #expect(buffer.capability(1, from: 64) == nil)
    #expect(buffer.capability(1, from: 0) == nil, "no chain")
  }

  @Test("a circular chain ends")
  func circle() throws {
    let buffer = try Self.buffer([(32, 1, 64), (64, 2, 32)])
    #expect(buffer.capability(2, from: 32) == 64)
    #expect(buffer.capability(3, from: 32) == nil)
    #expect(try Self.buffer([(32, 1, 32)]).capability(3, from: 32) == nil)
  }

  @Test("a chain that leaves the answer ends", arguments: [250, 256, 4096, .max] as [UInt32])
  func outOfBounds(_ next: UInt32) throws {
    let buffer = try Self.buffer([(32, 1, next)])
    #expect(buffer.capability(3, from: 32) == nil)
    #expect(buffer.capability(3, from: next) == nil)
  }

  @Test("fields are little-endian, and 0 beyond the answer")
  func fields() throws {
    // SAFETY: the buffer has at least 256 bytes.
    let buffer = try unsafe InfoBuffer { buffer throws(KernelError) in
      for index in 0..<16 { unsafe buffer[index] = UInt8(index + 1) }
      return 16
    }
    #expect(buffer.word(0) == 0x0403_0201)
    #expect(buffer.long(8) == 0x100F_0E0D_0C0B_0A09)
    #expect(
      buffer.word(254) == 0 && buffer.long(250) == 0 && buffer.word(-1) == 0 && buffer.word(1 << 40) == 0)
  }

  @Test("a request is repeated with the size that the answer needs")
  func grows() throws {
    var rooms: [Int] = []
    // SAFETY: only the count is used, and one byte within it.
    let buffer = try unsafe InfoBuffer { buffer throws(KernelError) in
      rooms.append(buffer.count)
      if buffer.count >= 1000 { unsafe buffer[996] = 7 }
      return 1000
    }
    #expect(rooms == [256, 1000])
    #expect(buffer.word(996) == 7)
  }

  @Test("an error of the kernel is passed on")
  func refused() {
    #expect(throws: KernelError("VFIO_DEVICE_GET_REGION_INFO", errno: 22)) {
      // SAFETY: the buffer is not used.
      _ = try unsafe InfoBuffer { _ throws(KernelError) in
        throw KernelError("VFIO_DEVICE_GET_REGION_INFO", errno: 22)
      }
    }
  }
}
