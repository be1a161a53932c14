// SPDX-License-Identifier: Apache-2.0

import Fakes
import Testing

@testable import VFIOUser

/// Random bodies. The seed makes a failure reproducible.
@Suite struct WireFuzzTests {
  private static let rounds = 2000

  /// Checks that random valid bodies survive the wire, and that parsing of any change of them is total. A body that is
  /// accepted survives the wire, too.
  private func check<Message: Body>(
    _ seed: UInt64, _ sample: (inout SeededGenerator) -> Message
  ) throws {
    var generator = SeededGenerator(state: seed)
    for _ in 0..<Self.rounds {
      let message = sample(&generator)
      #expect(try Message(parsing: message.encoded[...]) == message)
      var bytes = message.encoded
      for _ in 0...generator.next() % 4 {
        guard !bytes.isEmpty else { break }
        let at = Int(generator.next() % UInt64(bytes.count))
        switch generator.next() % 4 {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: generator.next())
        case 1: bytes.removeLast(at)
        case 2: bytes += generator.bytes(at)
        default: bytes[at] ^= 1 << UInt8(generator.next() % 8)
        }
      }
      // The slice has another start than the array of its bytes.
      guard let changed = try? Message(parsing: ([1, 2, 3] + bytes).dropFirst(3)) else { continue }
      #expect(try Message(parsing: changed.encoded[...]) == changed)
    }
  }

  @Test("random bodies survive the wire, and changed bodies give a value or an error")
  func bodies() throws {
    try check(1) { $0.version() }
    try check(2) { $0.dmaMap() }
    try check(3) { $0.dmaUnmap() }
    try check(4) { $0.deviceInfo() }
    try check(5) { $0.irqInfo() }
    try check(6) { $0.regionInfo() }
    try check(7) { $0.irqSet() }
    try check(8) { $0.regionAccess() }
    try check(9) { $0.dmaTransfer() }
    try check(10) {
      RegionInfoRequest(index: UInt32($0.next() % 9), argumentSize: UInt32(32 + $0.next() % 4096))
    }
  }

  @Test("random headers survive the wire, and random bytes give a header or an error")
  func headers() throws {
    var generator = SeededGenerator(state: 11)
    for _ in 0..<Self.rounds {
      let header = generator.header()
      #expect(try Header(parsing: header.encoded[...], limit: 8192) == header)
      _ = try? Header(parsing: generator.bytes(16)[...], limit: 8192)
    }
  }

  @Test("random text of VERSION gives a value or an error")
  func text() {
    var generator = SeededGenerator(state: 12)
    let pieces = [
      "{", "}", "[", "]", ":", ",", "\"a\"", "\"capabilities\"", "1", "-0.5", "true", "\\", "\"", " ",
      "\u{0}",
    ]
    for _ in 0..<Self.rounds {
      let text = (0..<generator.next() % 24).map { _ in pieces[Int(generator.next() % UInt64(pieces.count))] }
      _ = try? Version(parsing: [0, 0, 0, 0][...] + Array(text.joined().utf8) + [0])
    }
  }
}
