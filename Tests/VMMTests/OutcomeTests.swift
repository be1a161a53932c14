// SPDX-License-Identifier: Apache-2.0

import Linux
import Seams
import Testing

@testable import VMM

@Suite struct OutcomeTests {
  private static let failure = RunError.operation(OperationError("no room"))

  @Test(
    "each outcome has a name and an exit status, without and with the debug exit port",
    arguments: [
      (.powerOff, 0, 0, "power-off"), (.quit, 0, 0, "quit"), (.failure(failure), 1, 6, "failure"),
      (.reset, 3, 8, "reset"), (.panic, 4, 4, "panic"), (.tripleFault, 5, 10, "triple-fault"),
      (.signal(2), 130, 12, "signal 2"), (.signal(15), 143, 12, "signal 15"),
    ] as [(Outcome, Int32, Int32, String)])
  func status(_ outcome: Outcome, _ plain: Int32, _ even: Int32, _ name: String) {
    #expect(outcome.exitStatus(hasDebugExit: false) == plain)
    #expect(outcome.exitStatus(hasDebugExit: true) == even)
    #expect(even % 2 == 0, "odd statuses are reserved for values of the guest")
    #expect(outcome.name == name)
  }

  @Test(
    "a value V of the guest gives the low 8 bits of 2V + 1",
    arguments: [(0, 1), (1, 3), (0x80, 1), (.max, 255)] as [(UInt32, Int32)])
  func value(_ value: UInt32, _ status: Int32) {
    #expect(Outcome.debugExit(value).exitStatus(hasDebugExit: true) == status)
    #expect(Outcome.debugExit(value).name == "debug-exit \(value)")
  }

  @Test("the first outcome counts, and it wakes the event loop")
  func first() throws {
    let shutdown = try ShutdownRequest()
    let loop = try Epoll()
    try loop.watch(shutdown.number, as: 7)
    #expect(!shutdown.isOver && shutdown.outcome == nil)
    shutdown.end(.panic)
    #expect(try loop.next() == 7)
    shutdown.end(.powerOff)
    shutdown.end(.failure(Self.failure))
    #expect(shutdown.isOver)
    #expect(shutdown.outcome == .panic)
  }

  @Test("if several threads end a VM concurrently, one outcome counts and does not change")
  func race() throws {
    let shutdown = try ShutdownRequest()
    var threads: [Thread] = []
    for value in 0..<8 as Range<UInt32> {
      threads.append(try Thread(name: "end\(value)") { shutdown.end(.debugExit(value)) })
    }
    for thread in threads { thread.join() }
    let outcome = shutdown.outcome
    #expect((0..<8).map { .debugExit($0) }.contains(outcome))
    shutdown.end(.quit)
    #expect(shutdown.outcome == outcome)
  }
}
