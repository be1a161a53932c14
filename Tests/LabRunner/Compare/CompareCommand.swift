// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `compare [CASE…]`
struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the differences that a guest sees between Sluice and another VMM.")

  @Argument(
    help:
      "nvme, e1000e, edu, ivshmem, xhci, ahci, instructions, linux-nvme, linux-e1000e, linux-xhci, linux-ahci, port, error (default: all)."
  )
  var names: [String] = []
  @Option(
    help: "The other VMM: qemu, or kvmtool ('lkvm' or 'kvmtool' on the PATH, or its path in LAB_KVMTOOL).")
  var with = "qemu"
  @OptionGroup var host: L1Options
  @Option(help: "Also write an HTML page to this file.") var html: String?
  @Flag(help: "Instead, build Sluice with one bug after the other, and check that each is detected.")
  var planted =
    false
  @Option(help: "The file of known differences (default: the file for the other VMM).") var differences:
    String?

  func validate() throws {
    guard ["qemu", "kvmtool"].contains(with) else {
      throw ValidationError("--with '\(with)': unknown VMM; use qemu or kvmtool")
    }
    if with == "kvmtool", Workspace.kvmtool == nil {
      throw ValidationError(
        "--with kvmtool: program not found; put 'lkvm' or 'kvmtool' on the PATH, or its path in LAB_KVMTOOL")
    }
    if planted, with != "qemu" {
      throw ValidationError("--planted: not available with \(with); use --with qemu")
    }
    _ = try chosen()
  }

  private func chosen() throws -> [Case] {
    let all = ComparisonCases.all(with: with)
    if names.isEmpty { return all }
    return try names.map { name in
      guard let one = all.first(where: { $0.name == "compare-\(name)" }) else {
        throw ValidationError(
          "comparison '\(name)': not available with \(with); run 'Tests/lab compare --help' for the names")
      }
      return one
    }
  }

  func run() throws {
    let l1 = try host.kernel()
    var lab = try Lab()
    lab.manifest.kvmtool = Workspace.kvmtool
    let file = differences ?? "Tests/LabRunner/Compare/differences" + (with == "qemu" ? "" : ".\(with)")
    let comparer = Comparer(workspace: lab.workspace, peer: with, differences: URL(filePath: file))
    if planted {
      for bug in PlantedBug.all { try bug.build(lab.workspace) }
      try lab.run(PlantedBug.all.map(\.comparison), l1: l1, vmm: with)
      try comparer.finish(PlantedBug.all, report: &lab.report)
    } else {
      let cases = try chosen()
      try lab.run(cases, l1: l1, vmm: with)
      try comparer.finish(cases, l1: l1, html: html, report: &lab.report)
    }
    throw ExitCode(lab.report.finish())
  }
}

/// Compares the facts that cases wrote, and reports the differences.
struct Comparer {
  let workspace: Workspace
  let peer: String
  let differences: URL

  /// - Parameters:
  ///   - cases: The cases to compare.
  ///   - l1: The kernel of L1.
  ///   - html: The path of the page to write, or nil for no page.
  ///   - isQuiet: True to print only comparisons that have unexplained differences.
  ///   - report: The report that receives the verdicts.
  func finish(
    _ cases: [Case], l1: L1Kernel, html: String? = nil, isQuiet: Bool = false, report: inout Report
  ) throws {
    let known = try Differences(file: differences)
    let comparisons = try cases.compactMap { try comparison(of: $0, named: Self.name($0), known) }
    let names = ComparisonCases.all(with: peer).map(Self.name)
    let unused = Comparison.unused(known, in: comparisons, of: names)
    for one in comparisons {
      if !isQuiet || !one.unexplained.isEmpty {
        for line in ComparisonText(comparison: one, peer: peer).lines { printLine(line) }
      }
      report.add(verdict(one), prefix: "l1-\(l1.name)/")
    }
    if !unused.isEmpty {
      report.add(
        Event(
          .fail, "differences", text: "entries that match no difference: \(unused.joined(separator: ", "))"),
        prefix: "l1-\(l1.name)/")
    }
    if let html {
      let title = "L1: Linux \(l1.name), \(Date.now.formatted(.iso8601.year().month().day()))."
      let page = ComparisonPage(comparisons: comparisons, peer: peer, title: title, unused: unused)
      try Data(page.html.utf8).write(to: URL(filePath: html))
      printLine("lab: \(html)")
    }
  }

  /// Checks that the unexplained differences contain each bug.
  func finish(_ bugs: [PlantedBug], report: inout Report) throws {
    let known = try Differences(file: differences)
    for bug in bugs {
      // The device is the e1000e, so that its entries apply.
      report.add(bug.verdict(try comparison(of: bug.comparison, named: "e1000e", known)))
    }
  }

  /// Returns the comparison of a case, or nil if the case failed. The failure is already counted.
  private func comparison(of one: Case, named name: String, _ known: Differences) throws -> Comparison? {
    let directory = workspace.out.appending(path: one.name)
    func facts(_ file: String) throws -> Observations {
      Observations(text: try String(contentsOf: directory.appending(path: file), encoding: .utf8))
    }
    guard directory.appending(path: "peer.facts").exists else { return nil }
    return Comparison(name, sluice: try facts("sluice.facts"), peer: try facts("peer.facts"), known)
  }

  private static func name(_ one: Case) -> String { String(one.name.dropFirst("compare-".count)) }

  private func verdict(_ one: Comparison) -> Event {
    let explained = one.count { if case .explained = $0.verdict { true } else { false } }
    if !one.unexplained.isEmpty {
      let keys = one.unexplained.prefix(5).map(\.key).joined(separator: ", ")
      return Event(
        .fail, "\(one.name) compared with \(peer)",
        text: "\(one.unexplained.count) unexplained differences: \(keys)"
      )
    }
    if !one.wrong.isEmpty {
      let keys = one.wrong.prefix(5).map(\.key).joined(separator: ", ")
      return Event(.fail, "\(one.name) compared with \(peer)", text: "\(peer) is right: \(keys)")
    }
    return Event(
      .pass, "\(one.name) compared with \(peer)",
      text: "\(one.count { $0.verdict == .same }) equal keys, \(explained) explained differences")
  }
}
