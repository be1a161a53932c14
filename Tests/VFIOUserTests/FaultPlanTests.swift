// SPDX-License-Identifier: Apache-2.0

import Testing
import VFIOUser

@testable import VFIOUserServer

/// The text of a fault plan, and the messages to which its rules apply.
@Suite struct FaultPlanTests {
  @Test("each kind of rule and of fault is parsed")
  func rules() throws {
    let plan = try FaultPlan(
      """
      # a comment

      at 1: late 20
      every 3: short   # another comment
      rate 0.5: wrong-id
      at 2: error
      at 2: error 22
      at 2: duplicate
      at 2: all-ones
      at 2: lost-interrupt
      at 2: doubled-interrupt
      at 2: early-interrupt
      at 2: stray-dma
      at 2: hang
      at 2: crash
      at 2: dead-bar 5
      """)
    #expect(
      plan.rules.map(\.fault) == [
        .late(20), .short, .wrongID, .error(5), .error(22), .duplicate, .allOnes, .lostInterrupt,
        .doubledInterrupt, .earlyInterrupt, .strayDMA, .hang, .crash, .deadBAR(5),
      ])
    #expect(plan.rules.prefix(3).map(\.trigger) == [.at(1), .every(3), .rate(0.5)])
  }

  @Test(
    "an invalid line is an error with its number",
    arguments: [
      "at 0: short", "at x: short", "every 0: short", "rate 2: short", "rate -1: short", "rate nan: short",
      "at 1 short", "at 1: short 2", "at 1:", "at 1: late", "at 1: late -1", "at 1: dead-bar 6",
      "at 1: dead-bar",
      "at 1: error 0", "on 1: short", "at 1: short: short", "at: short", "at 1 2: short", "at 1: explode",
    ])
  func invalid(_ line: String) {
    #expect(throws: FaultPlan.InvalidLine(number: 2, text: line)) { try FaultPlan("at 1: short\n\(line)\n") }
  }

  /// Returns the faults of each of the first messages.
  private func faults(_ text: String, seed: UInt64, count: Int) throws -> [[Fault]] {
    var injector = FaultInjector(try FaultPlan(text), seed: seed)
    return (0..<count).map { _ in
      injector.next()
      return injector.present
    }
  }

  @Test("rules apply to the messages that they name")
  func triggers() throws {
    let faults = try faults("at 2: short\nevery 3: crash\nrate 0: hang\nrate 1: duplicate", seed: 1, count: 6)
    #expect(
      faults == [
        [.duplicate], [.short, .duplicate], [.crash, .duplicate], [.duplicate], [.duplicate],
        [.crash, .duplicate],
      ])
  }

  @Test("the same seed gives the same faults, and another seed others")
  func seeds() throws {
    let text = "rate 0.3: short\nrate 0.1: late 5"
    let first = try faults(text, seed: 7, count: 500)
    #expect(try faults(text, seed: 7, count: 500) == first)
    #expect(try faults(text, seed: 8, count: 500) != first)
    #expect(100...200 ~= first.count { $0.contains(.short) })
  }

  @Test("faults change the transmission of a reply")
  func transmissions() throws {
    func sent(_ text: String) throws -> [FaultInjector.Transmission] {
      var injector = FaultInjector(try FaultPlan(text), seed: 1)
      injector.next()
      return injector.transmissions(Header(id: 3, command: 9, kind: .reply, bodySize: 2), [1, 2])
    }
    let good = Header(id: 3, command: 9, kind: .reply, bodySize: 2).encoded + [1, 2]
    #expect(try sent("") == [.init(delay: 0, bytes: good, hasDescriptors: true)])
    #expect(try sent("at 1: late 4").map(\.delay) == [4])
    #expect(try sent("at 1: duplicate").map(\.hasDescriptors) == [true, false])
    let short = try #require(try sent("at 1: short").first).bytes
    #expect(short == Header(id: 3, command: 9, kind: .reply, bodySize: 1).encoded + [1])
    let other = try #require(try sent("at 1: wrong-id").first).bytes
    #expect(try Header(parsing: other.prefix(16), limit: 18).id == 0x8003)
    let error = try #require(try sent("at 1: error 22").first)
    #expect(try Header(parsing: error.bytes[...], limit: 16).errno == 22)
    #expect(!error.hasDescriptors)
  }
}
