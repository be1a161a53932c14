// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The built program, beside the tests' own.
enum Program {
  private static let path: String? = {
    guard let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
      return nil
    }
    let path = URL(filePath: tests).deletingLastPathComponent().appending(path: "sluice").path
    return FileManager.default.isExecutableFile(atPath: path) ? path : nil
  }()

  /// Whether it has been built.
  static var isBuilt: Bool { path != nil }

  /// Its path.
  static var file: String { path ?? "sluice" }

  /// How a run of it ended, and what it said.
  struct Result {
    let status: Int32
    let output: String
    let messages: String
  }

  /// Runs it to its end.
  static func run(_ arguments: [String]) throws -> Result { try tool([file] + arguments) }

  /// Runs a program, found on the PATH, to its end.
  static func tool(_ command: [String]) throws -> Result {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = command
    let (output, messages) = (Pipe(), Pipe())
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = messages
    try process.run()
    // What it says fits into a pipe; the list of system calls, the longest, has some kilobytes.
    process.waitUntilExit()
    func text(_ pipe: Pipe) throws -> String {
      String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    }
    return Result(
      status: process.terminationStatus, output: try text(output), messages: try text(messages))
  }
}
