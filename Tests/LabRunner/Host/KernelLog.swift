// SPDX-License-Identifier: Apache-2.0

/// L1's kernel log from now on.
struct KernelLog {
  private let before: Int

  init() throws { before = try Self.lines().count }

  private static func lines() throws -> [Substring] { try Command.output(["dmesg"]).split(separator: "\n") }

  /// The new lines in which the kernel complains of itself.
  func trouble() throws -> [String] {
    let words = [
      "WARNING:", "BUG:", "Oops", "Call Trace", "INFO: task", "soft lockup", "possible recursive locking",
      "circular locking", "suspicious RCU",
    ]
    return try Self.lines().dropFirst(before).map(String.init).filter { line in
      words.contains { line.contains($0) }
    }
  }
}
