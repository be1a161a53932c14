// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization
import Testing

@testable import KVM

/// The protocol between vCPU threads and a pausing thread. The run structures belong to no vCPU.
@Suite struct CPUPauseTests {
  private let page: Page
  private let pause: CPUPause

  private final class Page: Sendable {
    let mapping: Mapping
    init() throws { mapping = try Mapping(anonymous: 4096) }
  }

  private final class Flag: Sendable {
    let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
  }

  init() throws {
    page = try Page()
    pause = try CPUPause()
  }

  private func pauseOnce() -> Bool {
    switch pause.during({}) {
    case .success(let isDone): isDone
    case .failure: false
    }
  }

  @Test("a vCPU that asks for a pause first completes its instruction")
  func completes() {
    let member = pause.add(RunPage(address: page.mapping.address, size: 4096))
    #expect(pause.enter(member, isPausing: true) == .none)
    #expect(pause.enter(member, isPausing: false) == .guest)
    pause.leave(member, isInside: true)
    #expect(pause.enter(member, isPausing: true) == .completion)
    pause.leave(member, isInside: true)
    #expect(pause.enter(member, isPausing: true) == .completion)
    pause.leave(member, isInside: false)
    #expect(pause.enter(member, isPausing: true) == .none)
    #expect(pauseOnce())
  }

  @Test("a vCPU inside an instruction prevents a pause, and asks for one after the instruction")
  func owes() {
    let asking = pause.add(RunPage(address: page.mapping.address, size: 4096))
    let inside = pause.add(RunPage(address: page.mapping.address + 64, size: 4096))
    #expect(pause.enter(inside, isPausing: false) == .guest)
    pause.leave(inside, isInside: true)
    #expect(pause.enter(asking, isPausing: true) == .none)
    #expect(!pauseOnce())
    // Only the vCPU that was late asks for a pause now.
    #expect(pause.enter(asking, isPausing: false) == .guest)
    pause.leave(asking, isInside: false)
    #expect(pause.enter(inside, isPausing: false) == .completion)
    pause.leave(inside, isInside: false)
    #expect(pause.enter(inside, isPausing: false) == .none)
    #expect(pauseOnce())
    #expect(pause.enter(inside, isPausing: false) == .guest)
  }

  @Test("a pause waits until a vCPU has completed its instruction, and keeps the vCPU out of the guest")
  func waits() throws {
    let (pause, page) = (pause, page)
    let member = pause.add(RunPage(address: page.mapping.address, size: 4096))
    let (isPaused, hasEntered) = (Flag(), Flag())
    for _ in 0..<100 {
      #expect(pause.enter(member, isPausing: false) == .guest)
      pause.leave(member, isInside: true)
      let thread = try Linux.Thread(name: "vcpu") {
        while pause.enter(member, isPausing: false) == .completion { pause.leave(member, isInside: false) }
        hasEntered.set()
        pause.leave(member, isInside: false)
      }
      var isDone = false
      while !isDone {
        let result = pause.during {
          isPaused.set()
          let entered = hasEntered.isSet
          #expect(entered == hasEntered.isSet)
        }
        if case .success(true) = result { isDone = true }
      }
      thread.join()
    }
    #expect(isPaused.isSet && hasEntered.isSet)
  }
}
