// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage

/// A program that a case started. Its output goes to files, and it must end before a deadline.
final class Child {
  let arguments: [String]
  let log: URL
  let messages: URL
  private let program: RunningProgram
  /// The pipe of its standard input. The runner keeps both ends open. Without the write end, the program
  /// would read an end of file. Without the read end, a character for a program that has just ended would end
  /// the runner (SIGPIPE).
  private let input: (readEnd: FileDescriptor, writeEnd: FileDescriptor)?
  private let deadline: ContinuousClock.Instant

  init(
    _ arguments: [String], log: URL, messages: URL, input: FileHandle?, deadline: ContinuousClock.Instant
  ) throws {
    (self.arguments, self.log, self.messages, self.deadline) = (arguments, log, messages, deadline)
    let standardInput: FileDescriptor
    if let input {
      standardInput = try FileDescriptor(rawValue: input.fileDescriptor).duplicate()
      self.input = nil
    } else {
      let pipe = try FileDescriptor.pipe()
      standardInput = try pipe.readEnd.duplicate()
      self.input = pipe
    }
    program = try RunningProgram(
      arguments, input: standardInput, output: .create(log), errors: .create(messages))
  }

  deinit {
    // A pipe's close cannot fail.
    try? input?.readEnd.close()
    try? input?.writeEnd.close()
  }

  var isRunning: Bool { program.isRunning }
  var id: Int32 { program.id }
  var output: String { read(log) }
  var errors: String { read(messages) }

  /// Waits for the end, and returns the exit status as a shell reports it.
  func wait(within seconds: Int? = nil) throws -> Int32 {
    let limit = seconds.map { min(deadline, .now + .seconds($0)) } ?? deadline
    while program.isRunning {
      if ContinuousClock.now > limit {
        kill()
        throw Failed("'\(arguments.first ?? "")' did not end in time; last line: \(lastLine)")
      }
      usleep(20_000)
    }
    return try program.wait()
  }

  /// Waits until the output contains `text`.
  func expect(_ text: String, within seconds: Int? = nil) throws {
    let limit = seconds.map { min(deadline, .now + .seconds($0)) } ?? deadline
    while true {
      let isRunning = program.isRunning  // before the read, so that no output is missed
      if output.contains(text) { return }
      if !isRunning {
        throw Failed("ended with status \(try program.wait()) before '\(text)'; \(lastMessage)")
      }
      if ContinuousClock.now > limit {
        throw Failed("'\(text)' was not printed in time; last line: \(lastLine)")
      }
      usleep(50_000)
    }
  }

  func type(_ text: String) throws { try input?.writeEnd.writeAll(Array(text.utf8)) }

  /// Returns the process of Sluice. It may be a descendant of strace, or of a shell with a terminal.
  func sluice() throws -> Int32 {
    let limit = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < limit {
      if let process = findSluice() { return process }
      usleep(5_000)
    }
    throw Failed("sluice did not start; \(lastMessage)")
  }

  private func findSluice() -> Int32? {
    var process = id
    // A process that ends between two reads is not Sluice.
    while let list = try? String(
      contentsOfFile: "/proc/\(process)/task/\(process)/children", encoding: .utf8),
      let child = list.split(separator: " ").first.flatMap({ Int32($0) })
    {
      process = child
    }
    let name = try? String(contentsOfFile: "/proc/\(process)/comm", encoding: .utf8)
    return name == "sluice\n" ? process : nil
  }

  func kill() {
    // Sluice may be a descendant of strace or of a shell. No process may remain and keep a device open.
    if let sluice = findSluice(), sluice != id { _ = Foundation.kill(sluice, SIGKILL) }
    program.signal(SIGKILL)
    program.waitUntilEnd()
  }

  var lastLine: String { output.split(whereSeparator: \.isNewline).last.map(String.init) ?? "(none)" }

  var lastMessage: String {
    let lines = errors.split(whereSeparator: \.isNewline)
    return lines.isEmpty ? "nothing on standard error" : lines.suffix(2).joined(separator: " / ")
  }

  /// Returns the complete lines of standard output from an offset in bytes on, and advances the offset.
  func lines(from offset: inout UInt64) throws -> [Substring] {
    let file = try FileHandle(forReadingFrom: log)
    defer { try? file.close() }  // nothing was written
    try file.seek(toOffset: offset)
    let data = try file.readToEnd() ?? Data()
    guard let end = data.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
    let whole = data[...end]
    offset += UInt64(whole.count)
    return String(decoding: whole, as: UTF8.self).split(whereSeparator: \.isNewline)
  }

  private func read(_ url: URL) -> String {
    guard let data = try? Data(contentsOf: url) else { return "" }  // exists since the start
    return String(decoding: data, as: UTF8.self)
  }
}
