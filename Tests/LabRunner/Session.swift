// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One list of cases in one kind of L1: starts it, follows it, starts it again when it dies.
struct Session {
  let workspace: Workspace
  let preparation: Preparation
  let kernel: KernelName
  /// What runs the guests: `sluice` or `qemu`.
  let vmm: String
  var times = 1
  /// Puts L1's kernel in front of a case's name where more than one kernel is used.
  var prefix = ""

  /// Runs the cases, adding to the report. A case that was running when L1 died runs a second time.
  func run(_ cases: [Case], manifest: Manifest, report: inout Report) throws {
    var left = cases
    var retried: Set<String> = []
    while !left.isEmpty {
      say("lab: starting L1 with \(kernel.rawValue) for \(left.count) case\(left.count == 1 ? "" : "s")")
      let outcome = try boot(left, manifest: manifest, report: &report)
      left.removeAll { outcome.finished.contains($0.name) }
      guard !outcome.complete else {
        for one in left {
          report.add(Event(.fail, one.name, text: "the runner inside ended without it"), prefix: prefix)
        }
        return
      }
      guard let victim = outcome.running ?? left.first?.name else { return }
      if outcome.late || !retried.insert(victim).inserted {
        report.add(Event(.fail, victim, text: outcome.reason), prefix: prefix)
        left.removeAll { $0.name == victim }
      } else {
        say("lab: \(outcome.reason) during \(prefix)\(victim): retrying once in a new L1")
      }
    }
  }

  private struct Outcome {
    var finished: Set<String> = []
    var running: String?
    var complete = false
    /// It was stopped because a case did not end.
    var late = false
    var reason = "L1 died"
  }

  private func boot(_ cases: [Case], manifest: Manifest, report: inout Report) throws -> Outcome {
    let names = cases.map(\.name).joined(separator: " ")
    let machine = try preparation.machine(
      kernel,
      command: "'\(workspace.runner.path)' inside --manifest '\(workspace.manifest.path)' "
        + "--vmm \(vmm) --times \(times) \(names) </dev/null || echo \"lab: the runner ended with status $?\""
    )
    var manifest = manifest
    manifest.modules = machine.kernel.root.path
    try manifest.write(to: workspace.manifest)
    let console = workspace.out.appending(path: "l1-\(kernel.rawValue).log")
    let emulator = try Emulator(machine.arguments(console: "file:\(console.path)", reports: "stdio"))
    defer { emulator.stop() }
    return try follow(emulator, cases, console, report: &report)
  }

  private func follow(
    _ emulator: Emulator, _ cases: [Case], _ console: URL, report: inout Report
  ) throws -> Outcome {
    let limits = Dictionary(uniqueKeysWithValues: cases.map { ($0.name, $0.limit) })
    var outcome = Outcome()
    var limit = 90
    while true {
      switch emulator.next(within: .seconds(limit)) {
      case .line(let line):
        guard let event = Event(line: line) else { continue }
        report.add(event, prefix: prefix)
        switch event.kind {
        case .start:
          outcome.running = event.name
          limit = (limits[event.name] ?? 60) + 30
        case .pass, .fail, .skip:
          outcome.finished.insert(event.name)
          outcome.running = nil
        case .end:
          outcome.complete = true
          return outcome
        case .ready, .note: break
        }
      case .ended:
        outcome.reason = "L1 ended: \(lastWords(console))"
        return outcome
      case .late:
        outcome.late = outcome.running != nil
        outcome.reason = "nothing heard from L1 for \(limit) s; its console says: \(lastWords(console))"
        return outcome
      }
    }
  }

  /// The line of L1's console that tells most about its end.
  private func lastWords(_ console: URL) -> String {
    guard let data = try? Data(contentsOf: console) else { return "(no console log)" }  // said so
    let lines = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
    let telling = lines.first { $0.contains("Oops") || $0.contains("BUG:") || $0.contains("Kernel panic") }
    return telling ?? lines.last ?? "(nothing on its console)"
  }
}
