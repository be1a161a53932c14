// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A program that ended badly, with what it said.
struct CommandFailure: Error, CustomStringConvertible {
  let arguments: [String]
  let status: Int32
  let message: String

  var description: String {
    let said = message.trimmingCharacters(in: .whitespacesAndNewlines)
    return "'\(arguments.joined(separator: " "))' ended with status \(status)"
      + (said.isEmpty ? "" : ": \(said)")
  }
}

/// Programs that are run to their end.
enum Command {
  /// Runs a program found on the PATH and returns what it wrote to standard output.
  @discardableResult
  static func output(
    _ arguments: [String], in directory: URL? = nil, mergingErrors: Bool = false
  ) throws -> String {
    let (status, text, errors) = try result(arguments, in: directory, mergingErrors: mergingErrors)
    guard status == 0 else {
      throw CommandFailure(arguments: arguments, status: status, message: errors.isEmpty ? text : errors)
    }
    return text
  }

  /// Runs a program found on the PATH; its status, standard output and standard error.
  static func result(
    _ arguments: [String], in directory: URL? = nil, mergingErrors: Bool = false
  ) throws -> (status: Int32, output: String, errors: String) {
    let process = make(arguments, in: directory)
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardInput = FileHandle.nullDevice
    let errorFile = FileManager.default.temporaryDirectory.appending(path: "lab-\(UUID().uuidString)")
    if mergingErrors {
      process.standardError = pipe
    } else {
      process.standardError = try FileHandle(creating: errorFile)
    }
    defer { if !mergingErrors { try? FileManager.default.removeItem(at: errorFile) } }  // only litter
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    let errors = mergingErrors ? "" : try String(decoding: Data(contentsOf: errorFile), as: UTF8.self)
    return (process.exitStatus, String(decoding: output, as: UTF8.self), errors)
  }

  /// Runs a program, with each line of what it writes to its two streams as it comes; its status.
  static func follow(_ arguments: [String], _ body: (String) -> Void) throws -> Int32 {
    let process = make(arguments)
    let pipe = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    let queue = LineQueue()
    try process.run()
    let input = pipe.fileHandleForReading.fileDescriptor
    Thread.detachNewThread { [pipe] in
      queue.fill(from: input)
      _ = pipe  // keeps the descriptor open
    }
    reading: while true {
      switch queue.next(within: .seconds(60)) {
      case .line(let line): body(line)
      case .late: continue
      case .ended: break reading
      }
    }
    process.waitUntilExit()
    return process.exitStatus
  }

  /// A process that finds its program through the PATH; `env` replaces itself, so the id stays.
  static func make(_ arguments: [String], in directory: URL? = nil) -> Process {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = arguments
    process.currentDirectoryURL = directory
    return process
  }
}

extension Process {
  /// The exit status as a shell reports it: 128 and the signal where one ended the process.
  var exitStatus: Int32 {
    terminationReason == .uncaughtSignal ? 128 + terminationStatus : terminationStatus
  }
}

extension FileHandle {
  /// Opens a new, empty file for writing.
  convenience init(creating url: URL) throws {
    try Data().write(to: url)
    try self.init(forWritingTo: url)
  }
}

extension URL {
  /// Whether something exists at this path.
  var exists: Bool { FileManager.default.fileExists(atPath: path) }

  /// Makes this directory and those above it.
  func makeDirectory() throws {
    try FileManager.default.createDirectory(at: self, withIntermediateDirectories: true)
  }

  /// Removes what is here, if anything is.
  func removeIfPresent() throws {
    if exists { try FileManager.default.removeItem(at: self) }
  }
}
