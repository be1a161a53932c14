// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `here --device ADDRESS [CASE…]`: runs cases on this machine and on one of its devices, without L1.
struct HereCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "here",
    abstract: "Run cases directly on this machine, on the device that is named.",
    discussion: "The machine needs an IOMMU, KVM and vfio-pci. No case writes to the device's storage.")

  @Option(help: "The device's PCI address, such as 0000:01:00.0.") var device: String
  @Flag(help: "Do not ask before the device is unbound from its driver.") var yes = false
  @Argument(help: "The names of cases. The default is every case.") var names: [String] = []

  func validate() throws {
    guard device.wholeMatch(of: #/[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]/#) != nil else {
      throw ValidationError("--device: '\(device)' is not a PCI address; give one such as 0000:01:00.0")
    }
    for name in names where !HereCases.all.contains(where: { $0.name == name }) {
      let all = HereCases.all.map(\.name).joined(separator: ", ")
      throw ValidationError("case '\(name)': not found; the cases are \(all)")
    }
  }

  func run() throws {
    try Self.requireConfirmation(yes: yes, isTerminal: isatty(0) != 0)
    let workspace = Workspace.current
    let host = HereHost(sluice: workspace.sluice.path)
    let device = try host.device(device)
    let chosen =
      names.isEmpty ? HereCases.all : names.compactMap { name in HereCases.all.first { $0.name == name } }
    try describe(device, host, chosen)
    guard yes || confirms() else {
      printLine("lab: nothing was changed")
      throw ExitCode(1)
    }
    let out = workspace.lab.appending(path: "here")
    try out.removeIfPresent()
    try out.makeDirectory()
    var manifest = try Preparation(workspace).guestManifest([.newFull])
    manifest.out = out.path
    var report = Report()
    let run = HereRun(device: device, host: host, manifest: manifest)
    do { try run.run(chosen, report: &report) } catch {
      _ = report.finish()
      throw error
    }
    throw ExitCode(report.finish())
  }

  /// Prints the device, its group, the steps and the cases.
  private func describe(_ device: HereDevice, _ host: HereHost, _ cases: [HereCase]) throws {
    printLine(try host.details(of: device))
    let others = device.members.map { "\($0.address) (\($0.driver ?? "no driver"))" }
    printLine("    other members of the group: \(others.isEmpty ? "none" : others.joined(separator: ", "))")
    printLine("lab: steps:")
    switch device.driver {
    case "vfio-pci": printLine("    \(device.address) is already bound to vfio-pci, and stays bound to it")
    case let driver:
      printLine("    \(device.address) is \(driver.map { "unbound from \($0) and " } ?? "")bound to vfio-pci")
      printLine(
        "    at the end, also after a failure or a signal, it is "
          + (driver.map { "bound to \($0) again" } ?? "unbound from vfio-pci"))
    }
    printLine("    each case uses it in a guest, and resets it if it has a reset")
    printLine("lab: cases (logs: .build/lab/here):")
    for one in cases {
      let reason = one.reasonToSkip(device)
      printLine("    \(reason == nil ? "run " : "skip") \(one.name): \(reason ?? one.purpose)")
    }
  }

  /// Requires a terminal for the question, or the flag. Without both, the command line is wrong: exit status 2.
  static func requireConfirmation(yes: Bool, isTerminal: Bool) throws {
    guard !yes, !isTerminal else { return }
    FileHandle.standardError.write(
      Data("lab: here: standard input: not a terminal, so that the question has no answer; give --yes\n".utf8)
    )
    throw ExitCode(2)
  }

  private func confirms() -> Bool {
    FileHandle.standardOutput.write(Data("Continue? [y/N] ".utf8))
    return Self.isYes(readLine())
  }

  /// True if an answer to the question is yes. The end of the input is no.
  static func isYes(_ answer: String?) -> Bool {
    ["y", "yes"].contains(answer?.trimmingCharacters(in: .whitespaces).lowercased())
  }
}
