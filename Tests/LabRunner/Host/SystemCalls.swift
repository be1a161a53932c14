// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The system calls of threads after they loaded their filter, from the output of `strace -ff`.
///
/// An ioctl has the number of its request, `ioctl 0xae80`, because the filter checks this number.
struct SystemCalls: Equatable {
  /// The calls, by the kind of thread: `control`, `vcpu`, `pin`.
  var made: [String: Set<String>] = [:]

  /// Returns the command that precedes a program, so that strace writes its calls to `PREFIX.THREAD`.
  static func tracer(prefix: String) -> [String] { ["strace", "-ff", "-X", "raw", "-o", prefix] }

  /// Reads every `PREFIX.THREAD` in a directory.
  init(directory: URL, prefix: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: directory.path)
    where name.hasPrefix(prefix + ".") {
      let data = try Data(contentsOf: directory.appending(path: name))
      merge(Self(thread: String(decoding: data, as: UTF8.self)))
    }
  }

  /// Reads the calls of one thread.
  init(thread text: String) {
    var kind = "control"
    var calls: Set<String>?
    for line in text.split(separator: "\n") {
      if line.hasPrefix("prctl("), line.hasPrefix("prctl(0xf,"), let name = Self.quoted(line) {
        kind = Self.kind(ofThread: name)
      }
      if line.hasPrefix("seccomp(0x1,") {
        calls = []
      } else if let call = Self.call(line) {
        calls?.insert(call)
      }
    }
    if let calls { made[kind] = calls }
  }

  /// Parses the output of `sluice run --print-seccomp`: a line `KIND:`, then the calls with their reasons.
  ///
  /// - Parameters:
  ///   - text: The output of the command.
  ///   - contingent: True to include the calls that no run can be forced to make.
  init(table text: String, contingent: Bool) {
    var kind = ""
    for line in text.split(separator: "\n") where contingent || !line.contains(" (contingent) ") {
      if line.hasPrefix(" ") {
        let words = line.split(separator: " ")
        guard let name = words.first else { continue }
        made[kind, default: []].insert(
          name == "ioctl" && words.count > 2 ? "ioctl \(words[2])" : String(name))
      } else if line.hasSuffix(":") {
        kind = String(line.dropLast())
      }
    }
  }

  init() {}

  /// One call per line.
  var text: String { without(SystemCalls()).joined(separator: "\n") + "\n" }

  /// Returns the calls that another value does not have, as text.
  func without(_ other: SystemCalls) -> [String] {
    made.sorted { $0.key < $1.key }.flatMap { kind, calls in
      calls.subtracting(other.made[kind] ?? []).sorted().map { "\(kind): \($0)" }
    }
  }

  mutating func merge(_ other: SystemCalls) {
    made.merge(other.made) { $0.union($1) }
  }

  private static func kind(ofThread name: String) -> String {
    name == "sluice" ? "control" : String(name.prefix { !$0.isNumber })
  }

  /// Returns the call on a line of strace, or nil for a signal, an exit, or the second half of a call.
  private static func call(_ line: Substring) -> String? {
    guard let end = line.firstIndex(of: "("), let first = line.first, first.isLetter || first == "_" else {
      return nil
    }
    let name = String(line[..<end])
    guard name == "ioctl" else { return name }
    // ioctl(5, 0xae80, 0) = 0
    let words = line[end...].split(whereSeparator: { $0 == " " || $0 == "," || $0 == ")" })
    return "ioctl \(words.count > 1 ? words[1] : "?")"
  }

  private static func quoted(_ line: Substring) -> String? {
    let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
    return parts.count >= 3 ? String(parts[1]) : nil
  }
}
