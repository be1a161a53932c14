// SPDX-License-Identifier: Apache-2.0

import Foundation
import Subprocess
import SystemPackage

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
  static func run(_ arguments: [String]) async throws -> Result { try await tool([file] + arguments) }

  /// Runs a program, found on the PATH, to its end. Its status is as a shell reports it.
  static func tool(_ command: [String]) async throws -> Result {
    // Foundation's Process would notice the ends of these children only once Sluice has ended.
    let result = try await Subprocess.run(
      .path("/usr/bin/env"), arguments: Arguments(command), output: .string(limit: 1 << 20),
      error: .string(limit: 1 << 20))
    let status: Int32 =
      switch result.terminationStatus {
      case .exited(let code): code
      case .signaled(let signal): 128 + signal
      }
    return Result(status: status, output: result.standardOutput, messages: result.standardError)
  }
}
