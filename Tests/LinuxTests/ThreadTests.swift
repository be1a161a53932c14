// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization
import Testing

@Suite struct ThreadTests {
  private final class Told: Sendable { let name = Mutex("") }

  @Test("a thread has its name, and has ended when it has been joined")
  func name() throws {
    let told = Told()
    let thread = try Thread(name: "sluice-test") {
      // A name that cannot be read is empty, which is not the one expected.
      let name = (try? Sysfs.read("/proc/thread-self/comm")) ?? ""
      told.name.withLock { $0 = name }
    }
    thread.join()
    #expect(told.name.withLock { $0 } == "sluice-test")
  }

  private final class Places: Sendable { let list = Mutex<[Int]>([]) }

  @Test("a thread stays on the processor that it is bound to, and one that is not there is an error")
  func bind() throws {
    let places = Places()
    let mine = try (0..<8192).filter { processor throws(KernelError) in
      try Thread.mayRun(onProcessor: processor)
    }
    #expect(try Thread.processorCount() == mine.count)
    for processor in [mine[0], mine[mine.count - 1]] {
      let thread = try Thread(name: "bound") {
        // One that cannot be bound, or that may run elsewhere, is in no list.
        guard (try? Thread.bind(toProcessor: processor)) != nil, (try? Thread.processorCount()) == 1,
          (try? Thread.mayRun(onProcessor: processor)) == true
        else { return }
        places.list.withLock { $0.append(processor) }
      }
      thread.join()
    }
    #expect(places.list.withLock { $0 } == [mine[0], mine[mine.count - 1]])
    for processor in [8191, 8192, Int.max] {
      #expect(try !Thread.mayRun(onProcessor: processor))
      let error = #expect(throws: KernelError.self) { try Thread.bind(toProcessor: processor) }
      #expect(error?.errno == KernelError.invalid)
    }
  }

  @Test("the clock goes on, and the program began before now")
  func clock() {
    let first = Clock.microseconds()
    let start = Clock.programStart()
    #expect(start <= Clock.microseconds())
    #expect(Clock.microseconds() >= first)
  }

  // A process of its own: blocked signals stay with the thread.
  @Test("blocked signals are read one after the other, and then there is none")
  func signals() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let signals = try Signals([Signals.terminate, Signals.interrupt])
      guard try signals.next() == nil else { _exit(1) }
      pthread_kill(pthread_self(), SIGTERM)
      guard try signals.next() == Signals.terminate, try signals.next() == nil else { _exit(2) }
      pthread_kill(pthread_self(), SIGINT)
      _exit(try signals.next() == Signals.interrupt ? 7 : 3)
    }
  }

  @Test("a status is the process's own")
  func end() async {
    await #expect(processExitsWith: .exitCode(42)) { endProcess(42) }
  }
}
