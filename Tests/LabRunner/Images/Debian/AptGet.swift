// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs apt-get.
enum AptGet {
  /// - Throws: `Unavailable` with apt's first error.
  static func run(_ arguments: [String], in directory: URL? = nil) throws {
    let end = try Command.result(["apt-get"] + arguments, in: directory)
    guard end.status == 0 else {
      throw Unavailable(
        "apt-get: \(cause(in: end.errors) ?? "status \(end.status)"); check the network, or delete "
          + ".build/lab/kernels and .build/lab/apt if the archive has a newer kernel")
    }
  }

  /// Returns the first error in the messages of apt, or nil.
  static func cause(in messages: String) -> String? {
    let line = messages.split(separator: "\n").first { $0.hasPrefix("E: ") }
    return line.map { $0.dropFirst(3).trimmingCharacters(in: .whitespaces) }
  }
}
