// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization
import Testing

@Suite struct EventFDTests {
  @Test("signals add up, and taking the count resets it")
  func count() throws {
    let event = try EventFD()
    #expect(try event.take() == 0)
    for _ in 0..<3 { event.signal() }
    #expect(try event.take() == 3)
    #expect(try event.take() == 0)
  }

  @Test("isSignaled and wait do not change the count")
  func look() throws {
    let event = try EventFD()
    #expect(try !event.isSignaled())
    event.signal()
    #expect(try event.isSignaled())
    try event.wait()
    #expect(try event.take() == 1)
    #expect(try !event.isSignaled())
  }

  @Test("a wait for either of two eventfds returns false if the second is signalled")
  func either() throws {
    let one = try EventFD()
    let other = try EventFD()
    one.signal()
    #expect(try one.wait(orFor: other))
    other.signal()
    #expect(try !one.wait(orFor: other))
    try one.take()
    #expect(try !one.wait(orFor: other))
    #expect(try other.take() == 1, "the count does not change")
  }

  private final class Waiters: Sendable {
    let event: EventFD
    let passed = Atomic<Int>(0)
    init() throws { event = try EventFD() }
  }

  @Test("one signal ends the wait of every thread")
  func everyThread() throws {
    let waiters = try Waiters()
    var threads: [Thread] = []
    for index in 0..<4 {
      threads.append(
        try Thread(name: "wait\(index)") {
          if (try? waiters.event.wait()) != nil { waiters.passed.add(1, ordering: .relaxed) }
        })
    }
    #expect(waiters.passed.load(ordering: .relaxed) == 0)
    waiters.event.signal()
    for thread in threads { thread.join() }
    #expect(waiters.passed.load(ordering: .relaxed) == 4)
  }
}

@Suite struct EventLoopTests {
  @Test("the loop returns the token of a descriptor while it has input")
  func next() throws {
    let loop = try Epoll()
    let first = try EventFD()
    let second = try EventFD()
    try loop.watch(first.number, as: 1)
    try loop.watch(second.number, as: 1 << 40)
    second.signal()
    #expect(try loop.next() == 1 << 40)
    #expect(try loop.next() == 1 << 40, "level-triggered")
    try second.take()
    first.signal()
    #expect(try loop.next() == 1)
  }

  @Test("an unwatched descriptor is not returned")
  func unwatch() throws {
    let loop = try Epoll()
    let first = try EventFD()
    let second = try EventFD()
    try loop.watch(first.number, as: 1)
    try loop.watch(second.number, as: 1 << 40)
    first.signal()
    second.signal()
    try loop.unwatch(first.number)
    #expect(try loop.next() == 1 << 40)
    #expect(throws: KernelError("epoll_ctl delete", errno: KernelError.noEntry)) {
      try loop.unwatch(first.number)
    }
  }

  @Test("a regular file is refused, because it is always ready")
  func file() throws {
    let directory = try Temporary()
    let file = try OwnedDescriptor(opening: try directory.file("file"), .read)
    let loop = try Epoll()
    #expect(throws: KernelError("epoll_ctl add", errno: KernelError.notPermitted)) {
      try loop.watch(file.number, as: 0)
    }
  }
}
