// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import VMM

@Suite struct OutcomeTests {
  @Test(
    "each way to end has its exit status and its name",
    arguments: [
      (.powerOff, 0, "power-off"), (.quit, 0, "quit"), (.failure("x"), 1, "failure"), (.reset, 3, "reset"),
      (.panic, 4, "panic"), (.tripleFault, 5, "triple-fault"), (.debugExit(0), 1, "debug-exit 0"),
      (.debugExit(1), 3, "debug-exit 1"), (.debugExit(0x80), 1, "debug-exit 128"),
      (.debugExit(.max), 255, "debug-exit 4294967295"), (.signal(2), 130, "signal 2"),
      (.signal(15), 143, "signal 15"),
    ] as [(Outcome, Int32, String)])
  func status(_ outcome: Outcome, _ status: Int32, _ name: String) {
    #expect(outcome.exitStatus == status)
    #expect(outcome.name == name)
  }

  @Test("the first outcome counts, and the event loop hears of it")
  func first() throws {
    let ending = try Ending()
    let loop = try EventLoop()
    try loop.watch(ending.number)
    #expect(!ending.isOver && ending.outcome == nil)
    ending.end(.panic)
    #expect(try loop.next() == ending.number)
    ending.end(.powerOff)
    ending.end(.failure("later"))
    #expect(ending.isOver)
    #expect(ending.outcome == .panic)
  }

  @Test("of several threads that end a VM at once, one is right and all agree")
  func race() throws {
    let ending = try Ending()
    var threads: [Thread] = []
    for value in 0..<8 as Range<UInt32> {
      threads.append(try Thread(name: "end\(value)") { ending.end(.debugExit(value)) })
    }
    for thread in threads { thread.join() }
    let outcome = ending.outcome
    #expect((0..<8).map { .debugExit($0) }.contains(outcome))
    ending.end(.quit)
    #expect(ending.outcome == outcome)
  }
}
