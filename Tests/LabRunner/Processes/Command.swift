// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage

/// The failure of a program, with its message.
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

/// Runs programs to their end.
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

  /// Runs a program found on the PATH, and returns its status, standard output and standard error.
  static func result(
    _ arguments: [String], in directory: URL? = nil, mergingErrors: Bool = false
  ) throws -> (status: Int32, output: String, errors: String) {
    let errorFile = FileManager.default.temporaryDirectory.appending(path: "lab-\(UUID().uuidString)")
    defer { if !mergingErrors { try? FileManager.default.removeItem(at: errorFile) } }  // only a leftover
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    let program = try RunningProgram(
      arguments, in: directory, output: writeEnd,
      errors: mergingErrors ? writeEnd.duplicate() : .create(errorFile))
    let output = try FileHandle(fileDescriptor: readEnd.rawValue, closeOnDealloc: true).readToEnd() ?? Data()
    let status = try program.wait()
    let errors = mergingErrors ? "" : try String(decoding: Data(contentsOf: errorFile), as: UTF8.self)
    return (status, String(decoding: output, as: UTF8.self), errors)
  }

  /// Runs a program, and calls `body` with each line of its two output streams. Returns its status.
  static func follow(_ arguments: [String], _ body: (String) -> Void) throws -> Int32 {
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    let program = try RunningProgram(arguments, output: writeEnd, errors: writeEnd.duplicate())
    let queue = LineQueue(readEnd)
    reading: while true {
      switch queue.next(within: .seconds(60)) {
      case .line(let line): body(line)
      case .late: continue
      case .ended: break reading
      }
    }
    return try program.wait()
  }
}

extension FileHandle {
  /// Opens a new, empty file for writing.
  convenience init(creating url: URL) throws {
    try Data().write(to: url)
    try self.init(forWritingTo: url)
  }
}

extension FileDescriptor {
  /// Opens a new, empty file for writing.
  static func create(_ url: URL) throws -> FileDescriptor {
    try .open(
      FilePath(url.path), .writeOnly, options: [.create, .truncate, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
  }
}

extension URL {
  /// True if this path exists.
  var exists: Bool { FileManager.default.fileExists(atPath: path) }

  /// Creates this directory and its missing parents.
  func makeDirectory() throws {
    try FileManager.default.createDirectory(at: self, withIntermediateDirectories: true)
  }

  /// Removes the file or directory at this path, if it exists.
  func removeIfPresent() throws {
    if exists { try FileManager.default.removeItem(at: self) }
  }
}
