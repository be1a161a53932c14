// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The file `injections`. It lists the system calls of each kind of thread, the errors with which they fail,
/// and the kernel source that returns each error.
struct InjectionTable {
  /// The permitted effect of a failure if the VM continues.
  enum Rule: String {
    /// The VM continues, and the guest does not notice the failure.
    case none
    /// If the guest notices the failure, a warning has the error's text.
    case warn
    /// The guest may notice the failure without a warning, as it notices an unclaimed access.
    case bus
  }

  /// One call of a kind of thread, with one error.
  struct Row: Equatable {
    /// The kind of thread: `vcpu`, `pin`, `device`, `control`, `trace` or `reader`, or `*` for all.
    let thread: String
    let call: String
    /// The name of the ioctl's request, or empty for another call.
    let request: String
    /// The name of the injected error, or nil if no error is injected.
    let error: String?
    let rule: Rule
    /// File and function of the kernel, or the reason why no error is injected.
    let source: String

    var name: String { "\(thread) \(request.isEmpty ? call : request)" }

    /// True if only a device in another process causes the call.
    var needsServer: Bool { InjectionTable.needsServer(thread, call) }
  }

  let rows: [Row]

  init(file: URL) throws { try self.init(String(contentsOf: file, encoding: .utf8)) }

  init(_ text: String) throws {
    rows = try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
      let words = line.split(separator: " ", maxSplits: 4).map(String.init)
      let parts = words.count > 1 ? words[1].split(separator: ":").map(String.init) : []
      guard words.count == 5, !parts.isEmpty, words[2] == "-" || Self.number(words[2]) != nil,
        let rule = words[3] == "-" ? .bus : Rule(rawValue: words[3])
      else { throw LabError("injections: invalid row '\(line)'") }
      return Row(
        thread: words[0], call: parts[0], request: parts.count > 1 ? parts[1] : "",
        error: words[2] == "-" ? nil : words[2], rule: rule, source: words[4])
    }
  }

  /// Returns the rows with an error to inject, without the rows of calls that a seccomp table does not allow.
  func failing(in calls: [Call]) -> [Row] {
    rows.filter { row in row.error != nil && calls.contains { $0.isCall(of: row) } }
  }

  /// Returns the rows of the seccomp table that have no row here, each as `vcpu ioctl:KVM_RUN`.
  ///
  /// - Parameter table: The output of `sluice run --print-seccomp`.
  func missing(from table: String) -> [String] {
    Self.calls(table).filter { call in
      !rows.contains { row in
        (row.thread == "*" || row.thread == call.thread) && row.call == call.call
          && row.request == call.request
      }
    }
    .map { "\($0.thread) \($0.call)" + ($0.request.isEmpty ? "" : ":\($0.request)") }
  }

  /// A row of the seccomp table.
  struct Call {
    let thread: String
    let call: String
    /// The name and the number of the ioctl's request. Another call has an empty name and the number 0.
    let request: String
    let number: String

    /// True if only a device in another process causes the call.
    var needsServer: Bool { InjectionTable.needsServer(thread, call) }

    /// True if a row injects errors into this call.
    func isCall(of row: Row) -> Bool {
      row.thread == thread && row.call == call && row.request == request
    }
  }

  private static func needsServer(_ thread: String, _ call: String) -> Bool {
    thread == "reader" || call == "sendmsg"
  }

  /// Returns the rows of the seccomp table. A line `KIND:` begins a kind of thread. The lines below it are
  /// `  CALL …` or `  ioctl NAME NUMBER …`.
  static func calls(_ table: String) -> [Call] {
    var thread = ""
    var calls: [Call] = []
    for line in table.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      guard let first = words.first else { continue }
      if !line.hasPrefix(" ") {
        thread = String(first.dropLast())
      } else if first == "ioctl", words.count > 2 {
        calls.append(Call(thread: thread, call: first, request: words[1], number: words[2]))
      } else {
        calls.append(Call(thread: thread, call: first, request: "", number: "0"))
      }
    }
    return calls
  }

  /// Returns the number of an error by its name (errno.h), or nil if the name is unknown.
  static func number(_ name: String) -> Int32? {
    let all: [String: Int32] = [
      "EINTR": EINTR, "EIO": EIO, "EBADF": EBADF, "EAGAIN": EAGAIN, "ENOMEM": ENOMEM, "EFAULT": EFAULT,
      "EBUSY": EBUSY, "EEXIST": EEXIST, "EINVAL": EINVAL, "ENFILE": ENFILE, "EMFILE": EMFILE,
      "ENOENT": ENOENT, "ENOTTY": ENOTTY, "ENOSPC": ENOSPC, "EPIPE": EPIPE, "ENOBUFS": ENOBUFS,
      "ECONNRESET": ECONNRESET, "ETOOMANYREFS": ETOOMANYREFS,
    ]
    return all[name]
  }
}
