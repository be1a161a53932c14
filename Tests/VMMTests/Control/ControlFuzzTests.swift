// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Testing
import Trace

@testable import VMM

/// Random lines at the control socket.
@Suite struct ControlFuzzTests {
  private static let seeds = [
    #"{"id":1,"op":"status"}"#, #"{"id":"a","op":"remove","device":"0000:01:00.0"}"#,
    #"{"id":-3,"op":"stop","timeout":60}"#, #"{"id":5,"op":"add","device":"1:0.0","files":"devices"}"#,
    #"{"id":4,"op":"events"}"#, "{}", "",
  ].map { Array($0.utf8) }
  private static let pieces = [
    "\"", "\\", "{", "}", ":", ",", "\\u0000", "\\uD800", "null", "true", "1e999", "\u{0}", "[", "id", "op",
    "stop", " ",
  ].map { Array($0.utf8) }

  /// Returns a line without a newline.
  private static func line(_ generator: inout SeededGenerator) -> [UInt8] {
    var line = seeds.randomElement(using: &generator) ?? []
    for _ in 0..<Int.random(in: 0...6, using: &generator) {
      let place = Int.random(in: 0...line.count, using: &generator)
      switch Int.random(in: 0..<5, using: &generator) {
      case 0: line.insert(UInt8.random(in: 0...255, using: &generator), at: place)
      case 1: line.insert(contentsOf: pieces.randomElement(using: &generator) ?? [], at: place)
      case 2: if place < line.count { line.remove(at: place) }
      case 3: if place < line.count { line[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator) }
      default: line.insert(contentsOf: line.prefix(Int.random(in: 0...64, using: &generator)), at: place)
      }
    }
    if Int.random(in: 0..<200, using: &generator) == 0 { line += [UInt8](repeating: 0x20, count: 5000) }
    line.removeAll { $0 == 10 }
    return line
  }

  @Test("each line has exactly one reply, or the connection is closed", arguments: [1, 2, 3, 4] as [UInt64])
  func lines(_ seed: UInt64) throws {
    var generator = SeededGenerator(state: seed)
    let rig = try ControlRig()
    var client = try LineClient(rig.path)
    var (replies, errors, closed) = (0, 0, 0)
    for number in 0..<2000 {
      let line = Self.line(&generator)
      // In pieces of random sizes.
      let cut = Int.random(in: 0...line.count, using: &generator)
      do {
        try client.send(Array(line[..<cut]))
        try client.send(Array(line[cut...]) + [10])
      } catch { #expect(line.count > 4096, "line \(number) of seed \(seed): \(error)") }
      if line.count <= ControlRequest.maxSize,
        case .operation(let operation) = (try? ControlRequest(line: line))?.action,  // else an error
        operation.files.isEmpty  // else the descriptors are missing
      {
        let request = try rig.next()
        #expect(request.operation == operation)
        rig.server.exchange.complete(request, .success(ControlFields()))
      }
      let reply = try #require(client.next(), "line \(number) of seed \(seed): \(line)")
      let object = try #require(FlatObject(reply[...]))
      #expect(object.names.prefix(2) == ["id", "ok"])
      replies += 1
      if object.numbers["ok"] == "0" { errors += 1 }
      if line.count > 4096 {
        #expect(client.waitForEnd())
        client = try LineClient(rig.path)
        closed += 1
      }
    }
    // No second reply to any line.
    #expect(client.next(milliseconds: 20) == nil && !client.isClosed)
    #expect(replies == 2000 && errors > 500 && errors < 2000 && closed > 0)
    rig.finish()
  }
}
