// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage

/// A program that a case started, with its output in files and a time by which it must have ended.
final class Child {
  let arguments: [String]
  let log: URL
  let messages: URL
  private let program: RunningProgram
  /// The pipe of its standard input. The runner keeps both ends open. Without the write end, the program would read an
  /// end of file. Without the read end, a character for a program that has just ended would end the runner (SIGPIPE).
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

  /// Waits for the end; the exit status as a shell shows it.
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
      let isRunning = program.isRunning  // asked before reading, so that the last words count
      if output.contains(text) { return }
      if !isRunning {
        throw Failed("ended with status \(try program.wait()) before '\(text)'; \(lastMessage)")
      }
      if ContinuousClock.now > limit {
        throw Failed("'\(text)' did not come in time; last line: \(lastLine)")
      }
      usleep(50_000)
    }
  }

  func type(_ text: String) throws { try input?.writeEnd.writeAll(Array(text.utf8)) }

  /// The process of Sluice, below what runs it for us (strace, or a shell with a terminal).
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
    // A process may end between two reads: then it is not the one.
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
    // Sluice may stand below strace or a shell: whoever is left must not keep a device.
    if let sluice = findSluice(), sluice != id { _ = Foundation.kill(sluice, SIGKILL) }
    program.signal(SIGKILL)
    program.waitUntilEnd()
  }

  var lastLine: String { output.split(whereSeparator: \.isNewline).last.map(String.init) ?? "(none)" }

  var lastMessage: String {
    let lines = errors.split(whereSeparator: \.isNewline)
    return lines.isEmpty ? "it said nothing on stderr" : lines.suffix(2).joined(separator: " / ")
  }

  private func read(_ url: URL) -> String {
    guard let data = try? Data(contentsOf: url) else { return "" }  // made before the start: cannot fail
    return String(decoding: data, as: UTF8.self)
  }
}
