// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs with failed system calls: every call that a run makes after its start fails with each of its errors.
struct Injections {
  /// The same seed gives the same order and the same later occurrences.
  let seed: Int
  /// The part to run, from 1 to `parts`.
  let part: Int
  let parts: Int

  static let all = [
    Case(
      "inject", "a twentieth of the failed system calls, a different one each day (all: `inject-all`)",
      limit: 120
    ) { context in
      let day = Int(Date.now.timeIntervalSince1970 / 86400)
      return try Injections(seed: 1, part: day % 20 + 1, parts: 20).run(context)
    },
    Case(
      "inject-all", "after each failed system call the VM continues, or ends with the cause", limit: 600,
      isLong: true
    ) { context in try Injections(seed: 1, part: 1, parts: 1).run(context) },
  ]

  init(seed: Int, part: Int, parts: Int) { (self.seed, self.part, self.parts) = (seed, part, parts) }

  /// Creates the injections from the name of their case (see ``asCase``), or returns nil for another name.
  /// The runner in L1 finds the case by this name.
  init?(named name: String) {
    let words = name.split(separator: "-")
    let numbers = words.dropFirst().compactMap { Int($0) }
    guard words.first == "inject", words.count == 4, numbers.count == 3 else { return nil }
    self.init(seed: numbers[0], part: numbers[1], parts: numbers[2])
  }

  var asCase: Case { Case("inject-\(seed)-\(part)-\(parts)", "", limit: 600) { try run($0) } }

  /// Returns the injections of this part. Each row has a first and a later occurrence; the seed determines
  /// their order.
  func chosen(_ table: InjectionTable, calls: [InjectionTable.Call]) -> [Injection] {
    var generator = SplitMix(state: UInt64(seed))
    let all = table.failing(in: calls).flatMap { row in
      [true, false].map { Injection(row: row, isFirst: $0) }
    }
    .shuffled(using: &generator)
    return all.indices.filter { $0 % parts == part - 1 }.map { all[$0] }
  }

  func run(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let table = try InjectionTable(file: URL(filePath: context.manifest.injections))
    let text = try Command.output(
      [context.manifest.sluice, "run", "--print-seccomp"] + context.manifest.iommuOption)
    let server = try Command.output(
      [context.manifest.sluice, "run", "--print-seccomp", "--device", "vfio-user:none"]
        + context.manifest.iommuOption)
    let missing = table.missing(from: text) + table.missing(from: server)
    try context.require(
      missing.isEmpty, "'injections' lacks rows of the seccomp table: \(missing.joined(separator: ", "))")
    let calls = InjectionTable.calls(text) + InjectionTable.calls(server).filter { $0.needsServer }
    // The server accesses guest RAM by messages.
    let (process, socket) = try ServerCases.server("VFIOUserEdu", context, ["--messages"])
    defer { process.kill() }
    context.note("to repeat: Tests/lab inject --seed \(seed) --part \(part)/\(parts)")
    var generator = SplitMix(state: UInt64(seed))
    var counts = (lives: 0, ends: 0, notReached: 0)
    var faults: [String] = []
    var made: [String: Int] = [:]
    for injection in chosen(table, calls: calls) {
      let row = injection.row
      let call = calls.first { $0.isCall(of: row) }
      let later = Int.random(in: 2...(row.needsServer ? 60 : 6), using: &generator)
      let title = "\(row.name) \(row.error ?? "-") \(injection.isFirst ? "first" : "later")"
      let outcome = try injection.run(
        context, request: call?.number ?? "0", later: later, server: "vfio-user:\(socket)", made: &made)
      try context.require(process.isRunning, "\(title): the server has ended; \(process.lastMessage)")
      context.note("\(title): \(outcome)")
      switch outcome {
      case .unharmed, .degraded: counts.lives += 1
      case .ended: counts.ends += 1
      case .notReached: counts.notReached += 1
      case .wrong:
        faults.append("\(title): \(outcome)")
        try keep(context, title)
      }
    }
    try context.require(faults.isEmpty, faults.joined(separator: "; "))
    return
      "\(counts.lives) continue, \(counts.ends) end with the cause, \(counts.notReached) calls not reached"
  }

  /// Copies the output of a run with a wrong outcome.
  private func keep(_ context: CaseContext, _ title: String) throws {
    let name = title.replacing(" ", with: "-")
    for suffix in ["log", "err", "jsonl"] {
      let source = context.file("guest.\(suffix)")
      guard source.exists else { continue }
      try FileManager.default.copyItem(at: source, to: context.file("\(name).\(suffix)"))
    }
  }
}

/// A generator whose numbers depend on its seed alone (Steele et al., SplitMix64).
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
