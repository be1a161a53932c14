// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of cases in one kind of L1. It starts L1, follows its events, and starts a new L1 if L1 dies.
struct Session {
  let workspace: Workspace
  let preparation: Preparation
  let kernel: L1Kernel
  /// The VMM that runs the guests, for instance `sluice` or `qemu`.
  let vmm: String
  var times = 1
  /// The prefix of the cases' names. It names L1's kernel if more than one kernel is used.
  var prefix = ""
  var emulation = Emulation.parallel
  /// The devices that only some commands need.
  var extra = ExtraDevices.none

  /// Runs the cases, and adds their results to the report. A case during which L1 died runs a second time.
  func run(_ cases: [Case], manifest: Manifest, report: inout Report) throws {
    var left = cases
    var retried: Set<String> = []
    while !left.isEmpty {
      printLine(
        "lab: starting L1 with \(kernel.description)\(emulation.remark) for \(left.count) case\(left.count == 1 ? "" : "s")"
      )
      let outcome = try boot(left, manifest: manifest, report: &report)
      left.removeAll { outcome.finished.contains($0.name) }
      guard !outcome.complete else {
        for one in left {
          report.add(
            Event(.fail, one.name, text: "the runner inside L1 ended before this case"), prefix: prefix)
        }
        return
      }
      guard let victim = outcome.running ?? left.first?.name else { return }
      if !retried.insert(victim).inserted {
        report.add(Event(.fail, victim, text: outcome.reason), prefix: prefix)
        left.removeAll { $0.name == victim }
      } else {
        printLine("lab: \(outcome.reason) during \(prefix)\(victim): retrying once in a new L1")
        report.add(retry: prefix + victim)
      }
    }
  }

  /// The time in seconds after a case's limit in which the case may still report its result.
  private static let timeout = 90

  private struct Outcome {
    var finished: Set<String> = []
    var running: String?
    var complete = false
    var reason = "L1 died"
  }

  private func boot(_ cases: [Case], manifest: Manifest, report: inout Report) throws -> Outcome {
    let names = cases.map(\.name).joined(separator: " ")
    var machine = try preparation.machine(
      kernel, extra: extra,
      command: "'\(workspace.runner.path)' inside --manifest '\(workspace.manifest.path)' "
        + "--vmm \(vmm) --times \(times) \(names) </dev/null || echo \"lab: the runner ended with status $?\""
    )
    machine.emulation = emulation
    machine.extra = extra
    var manifest = manifest
    manifest.modules = machine.kernel.root.path
    manifest.emulatorVersion = try machine.emulatorVersion()
    try manifest.write(to: workspace.manifest)
    let console = try freshLog()
    let emulator = try Emulator(machine.arguments(console: "file:\(console.path)", reports: "stdio"))
    defer { emulator.stop() }
    let limits = Dictionary(cases.map { ($0.name, $0.limit) }) { first, _ in first }
    return try follow(emulator, console, limits, report: &report)
  }

  /// Returns a new file name for L1's console log.
  private func freshLog() throws -> URL {
    var number = 1
    while true {
      let file = workspace.out.appending(path: "l1-\(kernel.name)-\(number).log")
      if !file.exists { return file }
      number += 1
    }
  }

  private func follow(
    _ emulator: Emulator, _ console: URL, _ limits: [String: Int], report: inout Report
  ) throws -> Outcome {
    var outcome = Outcome()
    let limit = 90
    var silence = 0
    var start = ContinuousClock.now
    while true {
      // The runner inside ends a case's programs at the limit. Its own system call may still hang.
      if let name = outcome.running, let seconds = limits[name],
        ContinuousClock.now - start > .seconds(seconds + Self.timeout)
      {
        outcome.reason = "\(name) did not end within \(seconds + Self.timeout) s"
        return outcome
      }
      switch emulator.next(within: .seconds(5)) {
      case .line(let line):
        silence = 0
        guard let event = Event(line: line) else { continue }
        report.add(event, prefix: prefix)
        switch event.kind {
        case .start:
          outcome.running = event.name
          start = .now
        case .pass, .fail, .skip:
          outcome.finished.insert(event.name)
          outcome.running = nil
        case .end:
          outcome.complete = true
          return outcome
        case .ready, .note, .pulse: break
        }
      case .ended:
        outcome.reason = "L1 ended: \(fatalOrLastLine(console) ?? "no console output")"
        return outcome
      case .late:
        silence += 5
        if let words = fatalOrLastLine(console, onlyFatal: true) {
          outcome.reason = "L1 is broken: \(words)"
          return outcome
        }
        // The runner inside ends a case that takes too long, and reports that L1 still runs.
        guard silence >= limit else { continue }
        outcome.reason =
          "no event from L1 for \(limit) s; last console line: \(fatalOrLastLine(console) ?? "none")"
        return outcome
      }
    }
  }

  /// Returns a fatal line of L1's console. Without one, returns nil if `onlyFatal`, else the last line.
  private func fatalOrLastLine(_ console: URL, onlyFatal: Bool = false) -> String? {
    guard let data = try? Data(contentsOf: console) else { return nil }  // L1 did not start
    let lines = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
    // The last text: under emulation, a processor of L1 sometimes no longer gets timer interrupts.
    let fatal = ["Oops", "BUG:", "Kernel panic", "Possible timer handling issue"]
    return lines.first { line in fatal.contains { line.contains($0) } } ?? (onlyFatal ? nil : lines.last)
  }
}
