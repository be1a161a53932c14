// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization
import Testing

@Suite struct ThreadTests {
  private final class NameBox: Sendable { let name = Mutex("") }

  @Test("a thread has its name, and has ended after join")
  func name() throws {
    let reported = NameBox()
    let thread = try Thread(name: "sluice-test") {
      // An unreadable name is empty, which fails the expectation.
      let name = (try? Sysfs.read("/proc/thread-self/comm")) ?? ""
      reported.name.withLock { $0 = name }
    }
    thread.join()
    #expect(reported.name.withLock { $0 } == "sluice-test")
  }

  private final class ProcessorList: Sendable { let list = Mutex<[Int]>([]) }

  @Test("a thread stays on the processor that it is bound to, and a missing processor is an error")
  func bind() throws {
    let processors = ProcessorList()
    let mine = try (0..<8192).filter { processor throws(KernelError) in
      try Thread.mayRun(onProcessor: processor)
    }
    #expect(try Thread.processorCount() == mine.count)
    for processor in [mine[0], mine[mine.count - 1]] {
      let thread = try Thread(name: "bound") {
        // A thread that cannot be bound, or that may run elsewhere, adds nothing to the list.
        guard (try? Thread.bind(toProcessor: processor)) != nil, (try? Thread.processorCount()) == 1,
          (try? Thread.mayRun(onProcessor: processor)) == true
        else { return }
        processors.list.withLock { $0.append(processor) }
      }
      thread.join()
    }
    #expect(processors.list.withLock { $0 } == [mine[0], mine[mine.count - 1]])
    for processor in [8191, 8192, Int.max] {
      #expect(try !Thread.mayRun(onProcessor: processor))
      let error = #expect(throws: KernelError.self) { try Thread.bind(toProcessor: processor) }
      #expect(error?.errno == KernelError.invalid)
    }
  }

  @Test("the clock does not run backwards, and the program started before now")
  func clock() {
    let first = Clock.microseconds()
    let start = Clock.programStart()
    #expect(start <= Clock.microseconds())
    #expect(Clock.microseconds() >= first)
  }

  // Each test runs in a separate process, because blocked signals stay with the thread.
  @Test("a signal that would end the process is read once")
  func signals() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let signals = try SignalFD()
      guard try signals.next() == nil else { _exit(1) }
      for signal in [SIGTERM, SIGINT, SIGUSR1, SIGALRM, 34, 64] as [Int32] {
        pthread_kill(pthread_self(), signal)
        guard try signals.next() == .end(signal), try signals.next() == nil else { _exit(signal) }
      }
      for (signal, effect) in [(SIGPIPE, .none), (SIGTTIN, .none), (SIGCONT, .resumed)]
        as [(Int32, SignalFD.Effect)]
      {
        pthread_kill(pthread_self(), signal)
        guard try signals.next() == effect else { _exit(signal) }
      }
      for signal in [SIGURG, SIGCHLD, SIGWINCH] { pthread_kill(pthread_self(), signal) }
      _exit(try signals.next() == nil ? 7 : 2)
    }
  }

  @Test("a signal that the parent ignored stays ignored")
  func ignored() async {
    await #expect(processExitsWith: .exitCode(7)) {
      signal(SIGHUP, SIG_IGN)
      let signals = try SignalFD()
      pthread_kill(pthread_self(), SIGHUP)
      guard try signals.next() == nil else { _exit(1) }
      pthread_kill(pthread_self(), SIGTERM)
      _exit(try signals.next() == .end(SIGTERM) ? 7 : 2)
    }
  }

  @Test("a signal that the parent blocked is received, and the kick still interrupts")
  func blocked() async {
    await #expect(processExitsWith: .exitCode(7)) {
      var all = sigset_t()
      // SAFETY: the calls fill in and read the set.
      unsafe sigfillset(&all)
      unsafe sigprocmask(SIG_SETMASK, &all, nil)
      let signals = try SignalFD()
      try Thread.installKick()
      try Thread.acceptKick()
      Thread.Identity.current.kick()
      // SAFETY: as above.
      unsafe sigpending(&all)
      guard unsafe sigismember(&all, SIGURG) == 0 else { _exit(1) }
      pthread_kill(pthread_self(), SIGTERM)
      _exit(try signals.next() == .end(SIGTERM) ? 7 : 2)
    }
  }

  @Test("a fault signal ends the process by that signal", arguments: [SIGSEGV, SIGABRT, SIGILL, SIGFPE])
  func fault(_ number: Int32) async {
    await #expect(processExitsWith: .signal(number)) { [number = number as Int32] in
      let signals = try SignalFD()
      withExtendedLifetime(signals) {
        raise(number)
        _exit(1)
      }
    }
  }

  @Test("endProcess ends the process with the status")
  func end() async {
    await #expect(processExitsWith: .exitCode(42)) { endProcess(42) }
  }
}
