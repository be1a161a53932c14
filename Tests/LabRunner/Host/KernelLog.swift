// SPDX-License-Identifier: Apache-2.0

/// The kernel log of L1 since this value was created.
struct KernelLog {
  private let before: Int

  init() throws { before = try Self.lines().count }

  private static func lines() throws -> [Substring] { try Command.output(["dmesg"]).split(separator: "\n") }

  /// Returns the new lines that contain a text.
  func lines(with text: String) throws -> [String] {
    try Self.lines().dropFirst(before).filter { $0.contains(text) }.map(String.init)
  }

  /// Returns the new lines that report a fault of the kernel.
  func faults() throws -> [String] {
    let words = [
      "WARNING:", "BUG:", "Oops", "Call Trace", "INFO: task", "soft lockup", "possible recursive locking",
      "circular locking", "suspicious RCU",
    ]
    return try Self.lines().dropFirst(before).map(String.init).filter { line in
      words.contains { line.contains($0) }
    }
  }
}
