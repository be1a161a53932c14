// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The program that `Tests/lab` starts after the build.
@main
struct LabRunner: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "Tests/lab",
    abstract: "Runs Sluice in an emulated machine that has an IOMMU, KVM and VFIO.",
    subcommands: [
      Demo.self, Test.self, Run.self, HereCommand.self, Compare.self, BenchCommand.self, List.self,
      TortureCommand.self,
      Fuzz.self,
      Inject.self,
      Long.self, MatrixCommand.self, SelftestsCommand.self, PackageCommand.self, Shell.self,
      InsideCommand.self, ImageWorker.self, LayerActionCommand.self,
    ])

  /// Runs the command. A failure of the lab itself is reported in one sentence, with exit status 1. The exit
  /// status of wrong arguments is 2.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error where exitCode(for: error) == .validationFailure {
      FileHandle.standardError.write(Data((fullMessage(for: error) + "\n").utf8))
      exit(withError: ExitCode(2))
    } catch let error where error is ExitCode || exitCode(for: error) != .failure {
      exit(withError: error)
    } catch {
      FileHandle.standardError.write(Data("lab: \(sentence(error))\n".utf8))
      exit(withError: ExitCode(1))
    }
  }
}

/// Returns the cases with these names.
func cases(named names: [String]) throws -> [Case] {
  try names.map { name in
    let all =
      SelftestCases.all + Case.all + ComparisonCases.all + PlantedBug.all.map(\.comparison)
      + Measurement.all.map(\.asCase)
    guard
      let one = all.first(where: { $0.name == name }) ?? Torture(named: name)?.asCase
        ?? Injections(named: name)?.asCase ?? GuestFuzz(named: name)?.asCase
    else {
      throw ValidationError("case '\(name)': not found; run 'Tests/lab list' for the names")
    }
    return one
  }
}

/// `run CASE…`
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the named cases.")

  @Argument(help: "The names of cases, as 'list' prints them.") var names: [String]
  @OptionGroup var host: L1Options
  @OptionGroup var changes: L1Changes
  @Option(help: "The VMM for Linux guests: sluice or qemu.") var with = "sluice"
  @Option(help: "The number of runs of each case in the same L1.") var times = 1

  func validate() throws { _ = try host.kernel(changes) }

  func run() throws {
    let chosen = try cases(named: names)
    var lab = try Lab()
    try lab.run(chosen, l1: host.kernel(changes), vmm: with, times: times)
    throw ExitCode(lab.report.finish())
  }
}

/// `test`
struct Test: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the unit tests and every case.")

  func run() throws {
    let units = try UnitTests.run()
    var lab = try Lab()
    lab.report.add(passed: units.passed, failed: units.failed, skipped: units.skipped)
    try OrdinaryUser(workspace: lab.workspace).run(&lab.report)
    try lab.run(Case.short, l1: L1Kernel(.newFull))
    try lab.run(Case.shortOnIOMMUFD, l1: L1Kernel(.newFull, iommufd: true), prefix: "iommufd/")
    try lab.run(Case.shortOnOldKernel, l1: L1Kernel(.oldFull), prefix: "l1-6.1/")
    throw ExitCode(lab.report.finish())
  }
}

/// `long`
struct Long: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the cases that are too long for 'test'.")

  func run() throws {
    let counts = try [
      UnitTests.run(only: "FaultTests/seeded", variables: ["FAULTY_REQUESTS=100000"]),
      Fuzz.VFIOUser.tests(seconds: 3600, seed: 1),
    ]
    var lab = try Lab()
    for count in counts { lab.report.add(passed: count.passed, failed: count.failed, skipped: count.skipped) }
    try lab.run(Case.long, l1: L1Kernel(.newFull))
    try lab.run(Case.longOnIOMMUFD, l1: L1Kernel(.latestFull, iommufd: true), prefix: "l1-7.3/")
    try lab.run(Case.longOnOldKernel, l1: L1Kernel(.oldFull), prefix: "l1-6.1/")
    throw ExitCode(lab.report.finish())
  }
}

/// `inject`
struct Inject: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Fail every system call of a run with every error that the kernel has for it.")

  @Option(help: "The same seed gives the same order.") var seed = 1
  @Option(help: "The part of the injections to run: N/M.") var part = "1/1"
  @OptionGroup var host: L1Options

  private var numbers: [Int] { part.split(separator: "/").compactMap { Int($0) } }

  func validate() throws {
    guard seed >= 0, numbers.count == 2, (1...max(1, numbers[1])).contains(numbers[0]) else {
      throw ValidationError(
        "--part, --seed: value out of range; use N/M with N from 1 to M, and a seed of at least 0")
    }
  }

  func run() throws {
    var lab = try Lab()
    try lab.run([Injections(seed: seed, part: numbers[0], parts: numbers[1]).asCase], l1: host.kernel())
    throw ExitCode(lab.report.finish())
  }
}

/// `list`
struct List: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "List the cases.")

  func run() {
    let width = Case.all.map(\.name.count).max() ?? 0
    for one in Case.all {
      printLine(
        one.name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + one.purpose
          + (one.isLong ? " (long)" : ""))
    }
  }
}

/// `torture`
struct TortureCommand: SeededCommand {
  static let configuration = CommandConfiguration(
    commandName: "torture",
    abstract: "Run random events of every kind against one guest, and check the results.")

  @Option(help: "The duration in seconds.") var seconds = 60
  @Option(help: "The same seed gives the same schedule.") var seed = 1
  @OptionGroup var host: L1Options

  func run() throws {
    var lab = try Lab()
    try lab.run([Torture(.seconds(seconds), seed: seed).asCase], l1: host.kernel())
    throw ExitCode(lab.report.finish())
  }
}

/// `shell`
struct Shell: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Start L1 and a shell in it.")

  @OptionGroup var host: L1Options
  @OptionGroup var changes: L1Changes

  func validate() throws { _ = try host.kernel(changes) }

  func run() throws {
    let lab = try Lab()
    try lab.shell(l1: host.kernel(changes))
  }
}

/// `inside CASE…`. The runner outside starts it in L1.
struct InsideCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "inside", shouldDisplay: false)

  @Option var manifest: String
  @Option var vmm = "sluice"
  @Option var times = 1
  @Option var port = "/dev/ttyS1"
  /// The command to run in the prepared L1 instead of cases, or nil.
  @Option var command: String?
  @Argument var names: [String] = []

  func run() throws {
    let inside = L1Runner(
      manifest: try .read(URL(filePath: manifest)), vmm: vmm, reports: try Reports(port: port))
    if let command {
      try inside.run(command: command)
    } else {
      inside.run(try cases(named: names), times: times)
    }
  }
}
