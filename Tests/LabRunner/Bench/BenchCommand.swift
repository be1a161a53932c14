// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `bench [NAME…]`
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure Sluice, QEMU and kvmtool alternately in the same L1.",
    discussion: "Measurements: \(Measurement.all.map(\.name).joined(separator: ", ")).")

  @Argument(help: "The measurements to take (default: all).") var names: [String] = []
  @Option(help: "Write all samples to this file, as JSON.") var json: String?
  @Option(help: "Write the table to this file, as an article in Markdown.") var markdown: String?
  @Option(help: "The number of rounds after the warm-up. Counts take at most two, without a warm-up.")
  var pairs = 5
  @OptionGroup var host: L1Options
  @Flag(help: "Measure on this machine's /dev/kvm, without L1: dispatch, memory-growth-here, size, process.")
  var here = false

  func validate() throws {
    guard pairs > 0 else { throw ValidationError("--pairs: value out of range; use a number of at least 1") }
    _ = try chosen()
  }

  private func chosen() throws -> [Measurement] {
    let all = Measurement.all.filter { here ? $0.worksHere : $0.worksInL1 }
    if names.isEmpty { return all }
    return try names.map { name in
      guard let one = all.first(where: { $0.name == name }) else {
        throw ValidationError(
          "measurement '\(name)': not available\(here ? " with --here" : ""); use \(all.map(\.name).joined(separator: ", "))"
        )
      }
      return one
    }
  }

  func run() throws {
    let chosen = try chosen()
    let outcome = try here ? measureHere(chosen) : measureInL1(chosen)
    let table = BenchTable(chosen.flatMap(\.clockedFigures), outcome.samples)
    for line in table.lines { printLine(line) }
    let date = Date.now.formatted(.iso8601.year().month().day())
    printLine("lab: \(outcome.conditions), \(date), \(pairs) pairs")
    printLine("lab: \(table.met) aims met, \(table.missed) missed")
    if let json {
      try outcome.samples.write(to: URL(filePath: json))
      printLine("lab: \(json)")
    }
    if let markdown {
      let page = BenchPage(
        table: table, conditions: outcome.conditions, date: date, pairs: pairs,
        processor: try Self.processor())
      try Data(page.text.utf8).write(to: URL(filePath: markdown))
      printLine("lab: \(markdown)")
    }
    throw ExitCode(outcome.failures == 0 ? 0 : 1)
  }

  private struct Outcome {
    var samples = Samples()
    /// Not 0 if a measurement failed.
    var failures: Int32 = 0
    var conditions = ""
  }

  private func measureInL1(_ chosen: [Measurement]) throws -> Outcome {
    var lab = try Lab()
    lab.manifest.pairs = pairs
    lab.manifest.kvmtool = Workspace.kvmtool
    if lab.manifest.kvmtool == nil {
      printLine(
        "lab: kvmtool: not found; to measure it, put 'lkvm' or 'kvmtool' on the PATH, or its path in LAB_KVMTOOL"
      )
    }
    let l1 = try host.kernel()
    try lab.run(chosen.map(\.asCase), l1: l1, extra: .bench)
    var outcome = Outcome(conditions: "Linux \(l1.name), \(try Self.version(of: "qemu-system-x86_64"))")
    for one in chosen {
      let file = lab.workspace.out.appending(path: "\(one.asCase.name)/\(Measurement.file)")
      // A failed measurement leaves no file.
      if file.exists { outcome.samples.merge(try .read(file)) }
    }
    outcome.failures = lab.report.finish()
    return outcome
  }

  private func measureHere(_ chosen: [Measurement]) throws -> Outcome {
    var manifest = Manifest()
    let workspace = Workspace.current
    manifest.pairs = pairs
    (manifest.sluice, manifest.symbols) = (workspace.sluice.path, workspace.symbols.path)
    manifest.guests = workspace.guests.path
    (manifest.programs, manifest.out) = (workspace.programs.path, workspace.out.path)
    try workspace.out.makeDirectory()
    var outcome = Outcome(conditions: "this machine: \(try Command.output(["uname", "-r"]).dropLast())")
    for one in chosen {
      printLine("start  \(one.name)")
      let context = try CaseContext(
        one.asCase, manifest: manifest, vmm: "sluice", reports: Reports(port: "/dev/null"))
      do {
        _ = try one.asCase.body(context)
        outcome.samples.merge(try .read(context.file(Measurement.file)))
      } catch {
        printLine("FAIL   \(one.name)  \(error)")
        outcome.failures = 1
      }
      try context.close()
    }
    return outcome
  }

  /// The name of this machine's processor, and the number of CPUs.
  private static func processor() throws -> String {
    let lines = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8).split(separator: "\n")
    let names = lines.filter { $0.hasPrefix("model name") }
    let name = names.first?.split(separator: ":").last?.drop { $0 == " " } ?? "unknown processor"
    return "\(name), \(names.count) CPUs"
  }

  private static func version(of program: String) throws -> String {
    String(try Command.output([program, "--version"]).prefix { $0 != "\n" })
  }
}
