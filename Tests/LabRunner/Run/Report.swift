// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The report. It prints the events of cases while they run, and the counts at the end.
struct Report {
  private(set) var passed = 0
  private(set) var failed = 0
  private(set) var skipped = 0
  /// The failures, which `finish` prints again.
  private(set) var failures: [String] = []
  /// The names of the cases that ran a second time.
  private(set) var retried: [String] = []
  /// The results of cases, in order.
  private(set) var results: [Event] = []
  /// True if an L1 has started.
  private(set) var hasStarted = false
  private let start = ContinuousClock.now

  mutating func add(_ event: Event, prefix: String = "") {
    switch event.kind {
    case .pass: passed += 1
    case .fail:
      failed += 1
      failures.append("\(prefix)\(event.name): \(event.text)")
    case .skip: skipped += 1
    case .ready: hasStarted = true
    case .start, .note, .pulse, .end: break
    }
    if [.pass, .fail, .skip].contains(event.kind) { results.append(event) }
    show(event, prefix: prefix)
  }

  /// Adds the counts of a whole test program.
  mutating func add(passed: Int, failed: Int, skipped: Int) {
    self.passed += passed
    self.failed += failed
    self.skipped += skipped
    if failed > 0 { failures.append("unit tests: \(failed) failed") }
  }

  /// Records the name of a case that runs again. The caller prints the reason.
  mutating func add(retry name: String) { retried.append(name) }

  private func show(_ event: Event, prefix: String) {
    let time = event.seconds.formatted(.number.precision(.fractionLength(1)).grouping(.never)) + " s"
    let name = prefix + event.name
    let reason = event.text.isEmpty ? "" : "  \(event.text)"
    switch event.kind {
    case .ready: printLine("lab: L1 is up after \(time) (\(event.text))")
    case .start: printLine("start  \(name)")
    case .note: for line in event.text.split(separator: "\n") { printLine("       \(line)") }
    case .pass: printLine("pass   \(name) (\(time))\(reason)")
    case .fail: printLine("FAIL   \(name) (\(time))\(reason)")
    case .skip: printLine("skip   \(name)\(reason)")
    case .pulse: break
    case .end: if !event.text.isEmpty { printLine("lab: \(event.text)") }
    }
  }

  /// Prints the failures and, on the last line, the counts. Returns the exit status.
  func finish() -> Int32 {
    let time = (ContinuousClock.now - start).components.seconds
    printLine("lab: \(time) s in total")
    if !retried.isEmpty { printLine("lab: retried: \(retried.joined(separator: ", "))") }
    for failure in failures { printLine("lab: FAILED \(failure)") }
    printLine("\(passed) passed, \(failed) failed, \(skipped) skipped")
    return failed == 0 ? 0 : 1
  }
}

/// Prints a line without buffering.
func printLine(_ line: String) {
  FileHandle.standardOutput.write(Data((line + "\n").utf8))
}
