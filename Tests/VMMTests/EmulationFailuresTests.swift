// SPDX-License-Identifier: Apache-2.0

import KVM
import Passthrough
import Testing

@testable import VMM

@Suite struct EmulationFailuresTests {
  private var failures = EmulationFailures()
  private static let location = VirtualCPU.FaultLocation(instruction: 0x1000, address: 0xC000_0000)

  @Test("an instruction without a window is not retried")
  mutating func noWindow() { #expect({ !failures.mayRetry(Self.location, .none) }()) }

  @Test("an instruction that fails with an open window is retried a few times, and the count then restarts")
  mutating func openWindow() {
    for _ in 0..<2 {
      for _ in 0..<EmulationFailures.limit { #expect({ failures.mayRetry(Self.location, .isOpen) }()) }
      #expect({ !failures.mayRetry(Self.location, .isOpen) }())
    }
  }

  @Test("lost races for different windows do not add up")
  mutating func otherWindows() {
    for window in 0..<100 {
      let location = VirtualCPU.FaultLocation(instruction: 0x1000, address: UInt64(window) << 21)
      #expect({ failures.mayRetry(location, .isOpen) }())
    }
  }

  @Test(
    "a due window does not count as a failure, unless its access faults each time",
    arguments: [false, true])
  mutating func dueWindow(_ isRefused: Bool) {
    var attempts = 0
    while attempts < 100, failures.mayRetry(Self.location, .isDue) {
      attempts += 1
      if isRefused { failures.count() }
    }
    #expect(attempts == (isRefused ? EmulationFailures.limit : 100))
  }

  @Test("the delivery of an interrupt is retried a few times")
  mutating func events() {
    for _ in 0..<EmulationFailures.limit { #expect({ failures.mayRetry(Self.location) }()) }
    #expect({ !failures.mayRetry(Self.location) }())
    failures.end()
    #expect({ failures.mayRetry(Self.location) }())
  }
}
