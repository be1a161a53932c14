// SPDX-License-Identifier: Apache-2.0

import Foundation
import Subprocess
import SystemPackage

/// The built program, in the directory of the test program.
enum Program {
  private static let path: String? = {
    guard let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
      return nil
    }
    let path = URL(filePath: tests).deletingLastPathComponent().appending(path: "sluice").path
    return FileManager.default.isExecutableFile(atPath: path) ? path : nil
  }()

  /// True if the program has been built.
  static var isBuilt: Bool { path != nil }

  /// The program's path.
  static var file: String { path ?? "sluice" }

  /// The exit status and the output of a program.
  struct Result {
    let status: Int32
    let output: String
    let messages: String
  }

  /// Runs the program to its end.
  static func run(_ arguments: [String]) async throws -> Result { try await tool([file] + arguments) }

  /// Runs another program from the PATH to its end. The status is as a shell reports it.
  static func tool(_ command: [String]) async throws -> Result {
    // Foundation's Process would notice the end of these children only after Sluice has ended.
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
