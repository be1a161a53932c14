// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A program that runs to its end without an intermediate process, with the times of its output.
///
/// Times count from before the program's start. The time of a piece of output is taken after the piece has
/// been read.
struct Launch {
  /// The times at which the expected texts were first seen. Every expected text has a time, because a missing
  /// text is an error.
  var marks: [Duration] = []
  var firstByte: Duration = .zero
  var lastByte: Duration = .zero
  var end: Duration = .zero
  /// The exit status as a shell shows it.
  var status: Int32 = 0
  /// The peak resident memory in KiB, as the kernel reports it at the end.
  var peak = 0
  private(set) var bytes: [UInt8] = []

  var output: String { String(decoding: bytes, as: UTF8.self) }

  /// Starts the program and reads its output until it ends.
  ///
  /// - Parameters:
  ///   - arguments: The program, found in the PATH, and its arguments.
  ///   - messages: The file for its standard error.
  ///   - texts: The expected texts, in this order.
  ///   - limit: The timeout, from the start of the program to the end of its output.
  ///   - seen: Called with the process ID and the text's index when a text has been seen.
  init(
    _ arguments: [String], messages: URL, marks texts: [String] = [], within limit: Duration,
    seen: (Int32, Int) throws -> Void = { _, _ in }
  ) throws {
    let output = Pipe()
    // Hold the input open. An end of file would end a console.
    let input = Pipe()
    let errors = try FileHandle(creating: messages)
    let start = ContinuousClock.now
    let process = try Self.spawn(
      arguments,
      [
        input.fileHandleForReading.fileDescriptor, output.fileHandleForWriting.fileDescriptor,
        errors.fileDescriptor,
      ])
    var isOver = false
    defer {
      if !isOver {
        // The program may be strace. A remaining process of its group would keep its devices.
        kill(-process, SIGKILL)
        waitpid(process, nil, 0)
      }
    }
    try output.fileHandleForWriting.close()
    let descriptor = output.fileHandleForReading.fileDescriptor
    while true {
      guard Self.wait(descriptor, until: start + limit) else {
        throw Failed("'\(arguments[0])' did not end in time; last line: \(lastLine)")
      }
      let piece = Self.read(descriptor)
      let time = ContinuousClock.now - start
      if piece.isEmpty { break }
      if bytes.isEmpty { firstByte = time }
      lastByte = time
      bytes += piece
      while marks.count < texts.count, contains(texts[marks.count], last: piece.count) {
        marks.append(time)
        try seen(process, marks.count - 1)
      }
    }
    var usage = rusage()
    var code: Int32 = 0
    _ = unsafe wait4(process, &code, 0, &usage)
    end = ContinuousClock.now - start
    isOver = true
    status = code & 0x7F == 0 ? code >> 8 & 0xFF : 128 + code & 0x7F
    peak = usage.ru_maxrss
    withExtendedLifetime(input) {}
    guard marks.count == texts.count else {
      let said = try String(contentsOf: messages, encoding: .utf8).split(separator: "\n").suffix(2)
      throw Failed(
        "the output has no '\(texts[marks.count])' (status \(status)): \(said.joined(separator: " / "))")
    }
  }

  /// Returns true if a text ends within the last `count` bytes.
  private func contains(_ text: String, last count: Int) -> Bool {
    bytes.suffix(count + text.utf8.count - 1).contains(text.utf8)
  }

  private var lastLine: String { output.split(whereSeparator: \.isNewline).last.map(String.init) ?? "(none)" }

  /// Waits for output to read. Returns false at the time limit.
  private static func wait(_ descriptor: Int32, until limit: ContinuousClock.Instant) -> Bool {
    var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while true {
      let left = (limit - ContinuousClock.now) / .milliseconds(1)
      guard left > 0 else { return false }
      if unsafe poll(&poller, 1, Int32(left.rounded(.up))) > 0 { return true }
    }
  }

  /// Returns the bytes that can be read now, or none at the end of file.
  static func read(_ descriptor: Int32) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
      count = unsafe max(0, Foundation.read(descriptor, buffer.baseAddress, buffer.count))
    }
  }

  /// Starts a program from the PATH with the three standard streams, in a new process group. Returns its
  /// process ID.
  private static func spawn(_ arguments: [String], _ streams: [Int32]) throws -> Int32 {
    // SAFETY: the calls fill in the struct, and only they use it.
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    for (number, stream) in streams.enumerated() {
      unsafe posix_spawn_file_actions_adddup2(&actions, stream, Int32(number))
    }
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    // SAFETY: the strings live until they are freed, after the call that reads them.
    let strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe strings.forEach { unsafe free($0) } }
    var process: Int32 = 0
    let fault = unsafe posix_spawnp(&process, arguments[0], &actions, &attributes, strings, environ)
    guard fault == 0 else { throw Failed("'\(arguments[0])' cannot be started: errno \(fault)") }
    return process
  }
}

extension Duration {
  var milliseconds: Double { self / .milliseconds(1) }
}
