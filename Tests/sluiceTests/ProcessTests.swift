// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Testing

/// The program as a process, with a guest on KVM: streams, signals, terminal, descriptors and exit status.
@Suite(.enabled(if: TinyVM.isPossible, "\(TinyVM.reason)"), .serialized)
struct ProcessTests {
  private static let quiet = TinyGuest().saying("up").idling()

  @Test("a reader that reads nothing does not delay a stop", arguments: [SIGTERM, SIGINT])
  func unread(_ signal: Int32) throws {
    let vm = try TinyVM(TinyGuest().flooding())
    // The pipe is full at this size.
    let size = fcntl(vm.output, 1032 /* F_GETPIPE_SZ */)
    var waiting: Int32 = 0
    for _ in 0..<1000 where waiting < size - 4096 {
      usleep(20_000)
      // SAFETY: the call fills in the number.
      _ = unsafe ioctl(vm.output, UInt(FIONREAD), &waiting)
    }
    usleep(200_000)
    kill(vm.process, signal)
    #expect(vm.wait() == 128 + signal)
  }

  @Test("a slow reader receives every byte", arguments: [false, true])
  func slow(isNonBlocking: Bool) throws {
    let rounds: UInt32 = 512
    let guest = TinyGuest().flooding(rounds).writing(0, to: 0xF4)
    // 'dd' reads nothing. It makes its standard output, the pipe, non-blocking.
    let wrapper =
      isNonBlocking
      ? ["sh", "-c", "dd if=/dev/null oflag=nonblock status=none; exec \"$0\" \"$@\""] : []
    let vm = try TinyVM(guest, ["--debug-exit"], wrapper: wrapper)
    // The guest fills the pipe long before the first read.
    #expect(fcntl(vm.output, 1031 /* F_SETPIPE_SZ */, 4096) == 4096)
    var all: [UInt8] = []
    usleep(1_000_000)
    while case let more = TinyVM.read(vm.output, upTo: 4096, milliseconds: 5000), !more.isEmpty {
      all += more
      if all.count < 20 * 4096 { usleep(10_000) }
    }
    #expect(vm.wait() == 1)
    #expect(all.count == Int(rounds) << 8)
    #expect(all.enumerated().allSatisfy { UInt8(truncatingIfNeeded: $0.offset) == $0.element })
  }

  @Test("a signal that the parent ignored does not end the VM")
  func nohup() throws {
    let vm = try TinyVM(Self.quiet, wrapper: ["env", "--ignore-signal=HUP,INT,USR1,RTMIN+3"])
    #expect(vm.hears("up"))
    for signal in [SIGHUP, SIGINT, SIGUSR1, 37] { kill(vm.process, signal) }
    usleep(300_000)
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }

  @Test("a stop works if the parent blocked every signal, or if the signal queue is full")
  func kick() throws {
    for wrapper in [["env", "--block-signal"], ["prlimit", "--sigpending=0:0"]] {
      let vm = try TinyVM(Self.quiet, ["--cpus", "2"], wrapper: wrapper)
      #expect(vm.hears("up"))
      kill(vm.process, SIGTERM)
      #expect(vm.wait() == 143, "\(wrapper)")
    }
  }

  @Test("with --stop-timeout, SIGTERM ends a guest without a power button at the deadline")
  func deadline() throws {
    let vm = try TinyVM(Self.quiet, ["--stop-timeout", "1", "--summary"])
    #expect(vm.hears("up"))
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
    #expect(vm.errors.contains("summary: signal 15"))
  }

  @Test("with --stop-timeout, a second SIGTERM and any other signal end the VM at once", arguments: [1, 2])
  func impatient(_ count: Int) throws {
    let vm = try TinyVM(Self.quiet, ["--stop-timeout", "3600"])
    #expect(vm.hears("up"))
    for _ in 1..<count {
      kill(vm.process, SIGTERM)
      // The kernel merges signals that are pending at once.
      usleep(300_000)
      #expect(kill(vm.process, 0) == 0, "the first one only presses the button")
    }
    kill(vm.process, count == 1 ? SIGINT : SIGTERM)
    #expect(vm.wait() == 128 + (count == 1 ? SIGINT : SIGTERM))
  }

  @Test("the service manager learns that the guest runs and that the VM stops")
  func service() throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "n\(getpid())")
    let receiver = try DatagramReceiver(directory.path)
    defer { try? FileManager.default.removeItem(at: directory) }  // a temporary file
    let vm = try TinyVM(Self.quiet, wrapper: ["env", "NOTIFY_SOCKET=\(directory.path)"])
    #expect(vm.hears("up"))
    #expect(receiver.next() == "READY=1\nSTATUS=The guest runs.\n")
    #expect(receiver.next() == nil)
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
    #expect(receiver.next()?.hasPrefix("STOPPING=1\nSTATUS=") ?? false)
  }

  @Test("with --stop-timeout, the service manager grants the guest's time and two minutes for the devices")
  func serviceWaits() throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "w\(getpid())")
    let receiver = try DatagramReceiver(directory.path)
    defer { try? FileManager.default.removeItem(at: directory) }  // a temporary file
    let vm = try TinyVM(
      Self.quiet, ["--stop-timeout", "1"], wrapper: ["env", "NOTIFY_SOCKET=\(directory.path)"])
    #expect(vm.hears("up"))
    #expect(receiver.next()?.hasPrefix("READY=1\n") ?? false)
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
    #expect(
      receiver.next()
        == "EXTEND_TIMEOUT_USEC=121000000\nSTATUS=The power button is pressed. The guest has 1 s to power off.\n"
    )
    #expect(receiver.next()?.hasPrefix("STOPPING=1\n") ?? false)
  }

  @Test(
    "every signal from another process ends the VM with status 128 + N, or has no effect",
    arguments: 1...64 as ClosedRange<Int32>)
  func signals(_ signal: Int32) throws {
    if signal == SIGKILL { return }
    let terminal = try TinyVM.Terminal()
    let vm = try TinyVM(Self.quiet, wrapper: TinyVM.Terminal.foreground, terminal: terminal)
    try #require(vm.hears("up"))
    #expect(terminal.isRaw)
    kill(vm.process, signal)
    switch signal {
    // 32 and 33: glibc's posix_spawn makes a child ignore them.
    case 32, 33, SIGURG, SIGCHLD, SIGWINCH, SIGCONT, SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU, SIGSTOP, SIGTSTP:
      usleep(100_000)
      kill(vm.process, SIGCONT)
      usleep(100_000)
      kill(vm.process, SIGTERM)
      #expect(vm.wait() == 143)
    default: #expect(vm.wait() == 128 + signal)
    }
    #expect(!terminal.isRaw)
  }

  @Test("a terminal that is not the controlling terminal is raw, and the guest receives its input")
  func otherTerminal() throws {
    let terminal = try TinyVM.Terminal()
    let vm = try TinyVM(TinyGuest().saying("up").echoing(), wrapper: ["setsid"], terminal: terminal)
    try #require(vm.hears("up"))
    #expect(terminal.isRaw)
    terminal.type("typed")
    #expect(vm.hears("typed"))
    terminal.type("\u{1}x")
    #expect(vm.wait() == 0)
    #expect(!terminal.isRaw)
  }

  @Test("the terminal is raw again after the process is stopped and continued")
  func continued() async throws {
    let terminal = try TinyVM.Terminal()
    let vm = try TinyVM(
      TinyGuest().saying("up").echoing(), wrapper: TinyVM.Terminal.foreground, terminal: terminal)
    try #require(vm.hears("up"))
    kill(vm.process, SIGSTOP)
    // A shell resets the terminal when it becomes the foreground process.
    _ = try await Program.tool(["stty", "sane", "-F", "/proc/\(getpid())/fd/\(terminal.slave)"])
    #expect(!terminal.isRaw)
    kill(vm.process, SIGCONT)
    for _ in 0..<500 where !terminal.isRaw { usleep(20_000) }
    #expect(terminal.isRaw)
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
    #expect(!terminal.isRaw)
  }

  @Test(
    "a standard descriptor that is closed at the start becomes /dev/null",
    arguments: [">&-", "<&- >&- 2>&-"])
  func closed(_ redirection: String) throws {
    let trace = FileManager.default.temporaryDirectory.appending(path: "trace-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: trace) }  // a temporary file
    let vm = try TinyVM(
      TinyGuest().saying("{\"event\":\"forged\"}").writing(0, to: 0xF4), ["--debug-exit", "--trace", trace],
      wrapper: ["sh", "-c", "exec \"$0\" \"$@\" \(redirection)"])
    #expect(vm.wait() == 1)
    let text = try String(contentsOfFile: trace, encoding: .utf8)
    #expect(text.contains("first-instruction") && !text.contains("forged"))
  }

  @Test("with --debug-exit, only a value of the guest gives an odd status")
  func statuses() async throws {
    let guests: [(TinyGuest, Int32, Int32)] = [
      (TinyGuest().writing(1, to: 0xF4), 3, 143), (TinyGuest().writing(1, to: 0x505), 4, 4),
      (TinyGuest().writing(6, to: 0xCF9), 8, 3), (TinyGuest().crashing(), 10, 5),
    ]
    for (guest, even, plain) in guests {
      let status = try TinyVM(guest, ["--debug-exit"]).wait()
      #expect(status == even)
      if plain == 143 { continue }
      let other = try TinyVM(guest).wait()
      #expect(other == plain)
    }
    let stopped = try TinyVM(Self.quiet, ["--debug-exit"])
    #expect(stopped.hears("up"))
    kill(stopped.process, SIGTERM)
    #expect(stopped.wait() == 12)
    #expect(try await Program.run(["run", "--kernel", "/nonexistent", "--debug-exit"]).status == 6)
    #expect(try await Program.run(["run", "--kernel", "/nonexistent"]).status == 1)
    #expect(try await Program.run(["run", "--debug-exit"]).status == 2)
  }

  @Test("a full standard error drops messages and does not delay the end")
  func droppedMessages() throws {
    // The guest fills the pipe that both streams share, so the summary does not fit.
    let vm = try TinyVM(TinyGuest().flooding(), ["--summary"], joinsErrors: true)
    usleep(1_500_000)
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }

  @Test("a trace without a reader delays neither the guest nor the stop")
  func unreadTrace() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "fifo-\(UUID().uuidString)").path
    // SAFETY: the path lives for the call.
    #expect(unsafe mkfifo(path, 0o600) == 0)
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    // SAFETY: the path lives for the call. The FIFO is never read; the writes below fill it.
    let reader = unsafe open(path, O_RDWR | O_NONBLOCK)
    defer { close(reader) }
    let zeros = [UInt8](repeating: 10, count: 4096)
    // SAFETY: the bytes live for the call.
    while unsafe zeros.withUnsafeBytes({ unsafe write(reader, $0.baseAddress, $0.count) }) > 0 {}
    let vm = try TinyVM(Self.quiet, ["--trace", path])
    #expect(vm.hears("up"))
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
    let errors = vm.errors
    #expect(errors.contains("trace \(path): write: not complete when the VM was stopped"), "\(errors)")
  }

  @Test("a signal that the parent blocked ends the wait for a trace reader")
  func blockedSignal() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "fifo-\(UUID().uuidString)").path
    // SAFETY: the path lives for the call.
    #expect(unsafe mkfifo(path, 0o600) == 0)
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let vm = try TinyVM(
      Self.quiet, ["--trace", path], wrapper: ["env", "--block-signal=TERM"])
    usleep(300_000)
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }

  @Test("guest RAM of every kind is excluded from core dumps", arguments: ["16M", "16M,hugepages=off"])
  func coreDump(_ memory: String) async throws {
    let vm = try TinyVM(Self.quiet, ["--memory", memory])
    #expect(vm.hears("up"))
    let mapping = try await Program.tool([
      "grep", "-A24", "^Size: *16384 kB", "/proc/\(vm.process)/smaps",
    ]).output
    let flags = mapping.split(separator: "\n").first { $0.hasPrefix("VmFlags:") }
    #expect(flags?.contains(" dd ") == true, "\(mapping)")
    kill(vm.process, SIGTERM)
    #expect(vm.wait() == 143)
  }

  @Test("a process started in a terminal's background neither stops nor reads input")
  func background() throws {
    let terminal = try TinyVM.Terminal()
    let vm = try TinyVM(
      TinyGuest().saying("up").echoing(),
      wrapper: TinyVM.Terminal.foreground + ["bash", "-mc", "\"$0\" \"$@\" & wait $!"], terminal: terminal)
    try #require(vm.hears("up"))
    #expect(!terminal.isRaw)
    terminal.type("line\n")
    usleep(700_000)
    let children = "/proc/\(vm.process)/task/\(vm.process)/children"
    let text = try String(contentsOfFile: children, encoding: .utf8).split(separator: " ").first ?? ""
    let child = try #require(Int32(text))
    let status = try String(contentsOfFile: "/proc/\(child)/status", encoding: .utf8)
    #expect(!status.contains("T (stopped)"))
    kill(child, SIGTERM)
    #expect(vm.wait() == 143)
  }
}
