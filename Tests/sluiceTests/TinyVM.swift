// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of the built program with a ``TinyGuest``, on this machine's KVM.
final class TinyVM {
  /// True if the program is built and this machine has KVM.
  static var isPossible: Bool {
    Program.isBuilt && FileManager.default.isWritableFile(atPath: "/dev/kvm")
  }
  static let reason = "the program sluice is not beside the tests, or /dev/kvm cannot be opened"

  let process: Int32
  /// The test's end of the program's standard output, or of its terminal.
  let output: Int32
  /// The test's end of the program's standard error.
  let messages: Int32
  /// The test's end of the program's standard input.
  let input: Int32
  /// The kernel's file, which is removed at the end, or nil.
  private let kernel: String?
  private var said: [UInt8] = []
  private(set) var status: Int32?

  /// Starts the program with a guest.
  convenience init(
    _ guest: TinyGuest, _ options: [String] = [], wrapper: [String] = [], terminal: Terminal? = nil,
    joinsErrors: Bool = false
  ) throws {
    try self.init(
      kernel: guest.write(), isTemporary: true, options, wrapper: wrapper, terminal: terminal,
      joinsErrors: joinsErrors)
  }

  /// Starts the program with a kernel.
  ///
  /// - Parameters:
  ///   - kernel: The path of the kernel.
  ///   - isTemporary: True if the file is removed at the end.
  ///   - memory: The value of `--memory`.
  ///   - options: More options.
  ///   - wrapper: A command and its arguments that execute the program.
  ///   - terminal: A terminal for standard input and output, or nil for pipes.
  init(
    kernel: String, isTemporary: Bool = false, memory: String = "16M", _ options: [String] = [],
    wrapper: [String] = [], terminal: Terminal? = nil, joinsErrors: Bool = false
  ) throws {
    self.kernel = isTemporary ? kernel : nil
    let arguments = wrapper + [Program.file, "run", "--kernel", kernel, "--memory", memory] + options
    func pipe() throws -> (read: Int32, write: Int32) {
      var ends: [Int32] = [0, 0]
      // SAFETY: the array has room for two numbers.
      guard unsafe Foundation.pipe(&ends) == 0 else { throw POSIXError(.EMFILE) }
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      return (ends[0], ends[1])
    }
    let (standardInput, standardOutput, standardError) = (try pipe(), try pipe(), try pipe())
    // SAFETY: the calls fill in the struct, and only they use it.
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    let own =
      terminal.map { [$0.slave, $0.slave, standardError.write] } ?? [
        standardInput.read, standardOutput.write, joinsErrors ? standardOutput.write : standardError.write,
      ]
    for (number, stream) in own.enumerated() {
      unsafe posix_spawn_file_actions_adddup2(&actions, stream, Int32(number))
    }
    // SAFETY: the strings live until they are freed, after the call that reads them.
    let strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe strings.forEach { unsafe free($0) } }
    var process: Int32 = 0
    let fault = unsafe posix_spawnp(&process, arguments[0], &actions, nil, strings, environ)
    for number in [standardInput.read, standardOutput.write, standardError.write] { close(number) }
    guard fault == 0 else { throw POSIXError(POSIXErrorCode(rawValue: fault) ?? .ENOENT) }
    self.process = process
    (input, messages) = (standardInput.write, standardError.read)
    output = terminal?.master ?? standardOutput.read
  }

  deinit {
    if status == nil {
      kill(process, SIGKILL)
      _ = waitpid(process, nil, 0)
    }
    for number in [input, messages] { close(number) }
    if let kernel { try? FileManager.default.removeItem(atPath: kernel) }  // a temporary file
  }

  /// Reads the available bytes of a descriptor. Waits for the first byte until the timeout.
  static func read(_ descriptor: Int32, upTo count: Int = 65536, milliseconds: Int32 = 1000) -> [UInt8] {
    var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    // SAFETY: the call fills in the struct; the buffer has `count` bytes.
    guard unsafe poll(&poller, 1, milliseconds) > 0 else { return [] }
    return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, got in
      got = unsafe max(0, Foundation.read(descriptor, buffer.baseAddress, count))
    }
  }

  /// Writes to the guest's serial port.
  func type(_ text: String) {
    let bytes = Array(text.utf8)
    // SAFETY: the bytes live for the call.
    _ = unsafe bytes.withUnsafeBytes { unsafe Foundation.write(input, $0.baseAddress, $0.count) }
  }

  /// The text that the guest has sent.
  var text: String { String(decoding: said, as: UTF8.self) }

  /// Waits until the guest has sent a text. Returns false after a time, or if the process has ended before.
  func hears(_ text: String, seconds: Int = 30) -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    while !self.text.contains(text) {
      let more = Self.read(output, milliseconds: 100)
      said += more
      if more.isEmpty, status != nil || wait(seconds: 0) != nil || ContinuousClock.now > end {
        return self.text.contains(text)
      }
    }
    return true
  }

  /// Waits for the process. Returns its status as a shell reports it, or nil if the process does not end in
  /// time.
  func wait(seconds: Int = 20) -> Int32? {
    var code: Int32 = 0
    for attempt in 0...seconds * 50 where status == nil {
      if attempt > 0 { usleep(20_000) }
      // SAFETY: the call fills in the number.
      if unsafe waitpid(process, &code, WNOHANG) == process {
        status = code & 0x7F == 0 ? code >> 8 & 0xFF : 128 + code & 0x7F
      }
    }
    return status
  }

  /// The messages on standard error so far.
  var errors: String {
    var all: [UInt8] = []
    while case let more = Self.read(messages, milliseconds: 0), !more.isEmpty { all += more }
    return String(decoding: all, as: UTF8.self)
  }

  /// A pseudo-terminal.
  final class Terminal {
    let master: Int32
    let slave: Int32

    init() throws {
      var (master, slave): (Int32, Int32) = (-1, -1)
      // SAFETY: both pointers are to variables of this frame.
      guard unsafe openpty(&master, &slave, nil, nil, nil) == 0 else { throw POSIXError(.ENXIO) }
      (self.master, self.slave) = (master, slave)
      for number in [master, slave] { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
    }

    deinit { for number in [master, slave] { close(number) } }

    /// A wrapper that makes standard input the controlling terminal, as in a login. `setsid` executes the
    /// program.
    static let foreground = ["setsid", "--ctty"]

    /// Writes a text to the terminal, as a user types it.
    func type(_ text: String) {
      let bytes = Array(text.utf8)
      // SAFETY: the bytes live for the call.
      _ = unsafe bytes.withUnsafeBytes { unsafe Foundation.write(master, $0.baseAddress, $0.count) }
    }

    /// True if the terminal is raw: no line editing, no signals.
    var isRaw: Bool {
      var settings = termios()
      // SAFETY: the call fills in the struct.
      unsafe tcgetattr(slave, &settings)
      return settings.c_lflag & tcflag_t(ICANON | ISIG | ECHO) == 0
    }
  }
}
