// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// What `Tests/lab` starts when everything is built.
@main
struct LabRunner: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "Tests/lab",
    abstract: "Runs Sluice in an emulated machine that has an IOMMU, KVM and VFIO.",
    subcommands: [Run.self, List.self, InsideCommand.self])
}

/// The cases that a command was given by name.
func cases(named names: [String]) throws -> [Case] {
  try names.map { name in
    guard let one = Case.all.first(where: { $0.name == name }) else {
      throw ValidationError("no case '\(name)': Tests/lab list shows them")
    }
    return one
  }
}

/// `run CASE…`
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the named cases.")

  @Argument(help: "Names as 'list' prints them.") var names: [String]
  @Option(help: "The kernel of L1: 6.12 or 6.1.") var l1: KernelName = .newFull
  @Option(help: "What runs the Linux guests: sluice, or qemu to compare.") var with = "sluice"
  @Option(help: "How often to run each case, in the same L1.") var times = 1

  func run() throws {
    let chosen = try cases(named: names)
    let workspace = Workspace.current
    let preparation = Preparation(workspace)
    try workspace.out.makeDirectory()
    let manifest = try preparation.manifest()
    var report = Report()
    let session = Session(
      workspace: workspace, preparation: preparation, kernel: l1, vmm: with, times: times)
    try session.run(chosen, manifest: manifest, report: &report)
    throw ExitCode(report.finish())
  }
}

extension KernelName: ExpressibleByArgument {}

/// `list`
struct List: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "List the cases.")

  func run() {
    let width = Case.all.map(\.name.count).max() ?? 0
    for one in Case.all {
      say(one.name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + one.purpose)
    }
  }
}

/// `inside CASE…`, which the outside starts in L1.
struct InsideCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "inside", shouldDisplay: false)

  @Option var manifest: String
  @Option var vmm: String
  @Option var times = 1
  @Option var port = "/dev/ttyS1"
  @Argument var names: [String] = []

  func run() throws {
    let inside = Inside(
      manifest: try .read(URL(filePath: manifest)), vmm: vmm, reports: try Reports(port: port))
    inside.run(try cases(named: names), times: times)
  }
}
