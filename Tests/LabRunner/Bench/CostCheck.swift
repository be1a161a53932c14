// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The check of `Tests/lab test` that the program has not become slower. It counts L1's instructions, so that a figure is
/// the same on a busy and on a quiet machine.
enum CostCheck {
  static let all = [
    Case(
      "costs", "the start and five kinds of exits cost as many instructions as before", limit: 300,
      emulation: .instructionClock
    ) { context in try check(context) }
  ]

  /// The number of rounds, and the number of rounds before them that are not counted.
  private static let (rounds, warmUp) = (5, 2)
  /// The difference from the baseline that is accepted, in percent.
  static let tolerance = 10.0

  /// The figures, in milliseconds and in ticks of L1's instructions.
  enum Name: String, CaseIterable {
    case start, portRead = "port-read", configRead = "config-read", tableRead = "table-read"
    case memoryBit = "memory-bit", mask
  }

  private static func check(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    var series: [Name: [Double]] = [:]
    for round in 1...(warmUp + rounds) {
      let numbers = try measure(Trial(context: context, vmm: .sluice, label: "\(round)"))
      guard round > warmUp else { continue }
      for (name, number) in numbers { series[name, default: []].append(number) }
    }
    let medians = series.mapValues { $0.sorted()[$0.count / 2] }
    let file = URL(filePath: context.manifest.tree).appending(path: "Tests/LabRunner/Bench/baseline")
    let conditions = try Baseline.Conditions(
      kernel: String(Command.output(["uname", "-r"]).prefix { !$0.isWhitespace }),
      emulator: context.manifest.emulatorVersion)
    let known = try Baseline(text: String(contentsOf: file, encoding: .utf8))
    let lines = Name.allCases.compactMap { name in
      medians[name].map { Baseline.line(conditions, name.rawValue, $0) }
    }
    guard let expected = known.figures[conditions] else {
      return
        "no baseline for \(conditions.kernel) and QEMU \(conditions.emulator): \(lines.joined(separator: "; "))"
    }
    let changes = Baseline.changes(
      from: expected, to: Dictionary(uniqueKeysWithValues: medians.map { ($0.key.rawValue, $0.value) }))
    let late = changes.filter { $0.percent > tolerance }
    try context.require(
      late.isEmpty,
      "\(late.map(\.description).joined(separator: ", ")); the new figures are: \(lines.joined(separator: "; "))"
    )
    return changes.map(\.description).joined(separator: ", ")
  }

  /// Runs the two guests once.
  private static func measure(_ trial: Trial) throws -> [Name: Double] {
    let first = BenchGuest(image: .first, devices: [Address.bigDrive])
    let start = try trial.run(first, marks: ["!"])
    var numbers: [Name: Double] = [.start: start.marks[0].milliseconds]
    let guest = BenchGuest(
      image: .small("Bench"), devices: [Address.bigDrive], append: "device=1", memory: "128M")
    let launch = try trial.run(guest, marks: ["ok - all times"])
    for name in Name.allCases where name != .start {
      numbers[name] = try ExitMeasurements.ticks(launch, name.rawValue).median
    }
    return numbers
  }
}

/// The figures that earlier commits had, by L1's kernel and QEMU.
struct Baseline {
  /// The conditions under which figures can be compared.
  struct Conditions: Hashable {
    let kernel: String
    let emulator: String
  }

  /// A difference from a baseline.
  struct Change: Equatable, CustomStringConvertible {
    let name: String
    let old: Double
    let new: Double

    /// The difference in percent. A positive number is an increase.
    var percent: Double { (new - old) / old * 100 }

    var description: String {
      "\(name) \(Series.short(new)) (\(percent < 0 ? "" : "+")\(percent.formatted(.number.precision(.fractionLength(1)))) %)"
    }
  }

  private(set) var figures: [Conditions: [String: Double]] = [:]

  /// Parses the rows `KERNEL QEMU FIGURE NUMBER`. Other lines begin with `#` or are empty.
  init(text: String) throws {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      let words = line.split(separator: " ").map(String.init)
      guard words.count == 4, let number = Double(words[3]), number > 0 else {
        throw LabError("baseline: invalid row '\(line)'")
      }
      figures[Conditions(kernel: words[0], emulator: words[1]), default: [:]][words[2]] = number
    }
  }

  /// Returns a row.
  static func line(_ conditions: Conditions, _ name: String, _ number: Double) -> String {
    "\(conditions.kernel) \(conditions.emulator) \(name) \(number.formatted(.number.grouping(.never).precision(.significantDigits(4))))"
  }

  /// Returns the difference of each figure of a baseline. A figure that was not measured is an increase without end.
  static func changes(from old: [String: Double], to new: [String: Double]) -> [Change] {
    old.sorted { $0.key < $1.key }.map { Change(name: $0.key, old: $0.value, new: new[$0.key] ?? .infinity) }
  }
}
