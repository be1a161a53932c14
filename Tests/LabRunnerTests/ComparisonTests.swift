// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct ComparisonTests {
  private static func facts(_ pairs: [(String, String)]) -> Observations {
    var facts = Observations()
    for (key, value) in pairs { facts.add(key, value) }
    return facts
  }

  private static let entries = """
    # a comment
    keys    */read.off.*
    sluice  ff*
    peer    0*
    right   sluice
    why     all-ones
    why     by the bus
    source  PCI

    keys    edu/only
    peer    (absent)
    right   both
    why     only here
    source  none
    """

  @Test("parses the facts in a probe's output, and ignores the firmware's output and other lines")
  func probe() {
    var facts = Observations()
    facts.add(
      probe: "SeaBIOS (version = 1)\r\nBooting..key.1 = 00 11\nok - done\nkey.2 = a = b\nkey.1 = 2\n1x = 3\n")
    #expect(facts.values["key.1"] == "00 11")
    #expect(facts.values["key.2"] == "a = b")
    #expect(facts.values["key.1#2"] == "2")
    #expect(Observations(text: facts.text).values == facts.values)
  }

  @Test(
    "the files of known differences are valid, and no entry states that the peer is right",
    arguments: ["", ".kvmtool"])
  func files(_ suffix: String) throws {
    let runner = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../LabRunner/Compare")
    let known = try Differences(file: runner.appending(path: "differences\(suffix)"))
    #expect(known.entries.count > 5)
    #expect(known.entries.allSatisfy { $0.right != "peer" })
  }

  @Test("a star matches any text at any position")
  func patterns() {
    for (pattern, text, matches) in [
      ("a", "a", true), ("a", "ab", false), ("a*", "ab", true), ("*b", "ab", true), ("a*c*e", "abcde", true),
      ("a*c*e", "abde", false), ("*", "", true), ("a*a", "a", false), ("**b", "b", true),
    ] {
      #expect(Pattern.matches(pattern, text) == matches, "\(pattern) \(text)")
    }
  }

  @Test("an entry whose keys and values match explains a difference")
  func verdicts() throws {
    let known = try Differences(Self.entries)
    #expect(known.entries.map(\.why) == ["all-ones by the bus", "only here"])
    let comparison = Comparison(
      "edu",
      sluice: Self.facts([
        ("read.off.4", "ffffffff"), ("read.off.1", "00"), ("same", "1"), ("only", "1"), ("cycles.x", "1 2 3"),
      ]),
      peer: Self.facts([
        ("read.off.4", "00000000"), ("read.off.1", "01"), ("same", "1"), ("there", "1"),
        ("cycles.x", "4 5 6"),
      ]), known)
    #expect(
      comparison.rows.map(\.verdict) == [
        .explained(known.entries[0]), .unexplained, .same, .explained(known.entries[1]), .time, .unexplained,
      ])
    #expect(comparison.unexplained.map(\.key) == ["read.off.1", "there"])
    #expect(Comparison.unused(known, in: [comparison], of: ["edu"]).isEmpty)
  }

  @Test("a planted bug is unexplained: a wrong size, a lost mask bit, zero instead of all-ones")
  func planted() throws {
    let known = try Differences(Self.entries)
    let peer = [("bar.0", "size 4000"), ("msix.ones+0c", "00000001"), ("read.off.4", "00000000")]
    for index in peer.indices {
      var broken = [("bar.0", "size 4000"), ("msix.ones+0c", "00000001"), ("read.off.4", "ffffffff")]
      broken[index].1 = ["size 2000", "00000000", "00000000"][index]
      let comparison = Comparison("edu", sluice: Self.facts(broken), peer: Self.facts(peer), known)
      #expect(comparison.unexplained.map(\.key) == [peer[index].0])
    }
  }

  @Test("the text that a planted bug replaces occurs once in its file", arguments: PlantedBug.all.map(\.name))
  func places(_ name: String) throws {
    let bug = try #require(PlantedBug.all.first { $0.name == name })
    let tree = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    let source = try String(contentsOf: tree.appending(path: bug.file), encoding: .utf8)
    #expect(source.components(separatedBy: bug.text).count == 2)
    #expect(bug.text != bug.replacement)
  }

  @Test("reports an entry that matches no difference if its cases ran")
  func unused() throws {
    let known = try Differences(Self.entries)
    let same = Self.facts([("same", "1")])
    let edu = Comparison("edu", sluice: same, peer: same, known)
    #expect(Comparison.unused(known, in: [edu], of: ["edu"]).count == 2)
    let other = Comparison("nvme", sluice: same, peer: same, known)
    #expect(Comparison.unused(known, in: [other], of: ["nvme"]).count == 1)
    #expect(Comparison.unused(known, in: [other], of: ["nvme", "edu"]).isEmpty, "not all cases ran")
  }

  @Test(
    "rejects an entry without a required field",
    arguments: ["keys", "right", "why", "source"])
  func incomplete(_ field: String) {
    let text =
      "\n" + Self.entries.split(separator: "\n").filter { !$0.hasPrefix(field) }.joined(separator: "\n")
    #expect(throws: Failed.self) { try Differences(text) }
    #expect(throws: Failed.self) { try Differences("keyz a") }
  }

  @Test("the page has every case and key, escaped, and the unexplained keys first")
  func page() throws {
    let known = try Differences(Self.entries)
    let comparison = Comparison(
      "edu", sluice: Self.facts([("read.off.4", "ff"), ("a<b", "1")]),
      peer: Self.facts([("read.off.4", "00"), ("a<b", "2")]), known)
    let page = ComparisonPage(comparisons: [comparison], peer: "qemu", title: "now", unused: ["line 9: x"])
      .html
    #expect(page.contains("a&lt;b") && !page.contains("a<b") && page.contains("line 9: x"))
    let open = try #require(page.range(of: "unexplained</span>"))
    let closed = try #require(page.range(of: "all-ones by the bus"))
    #expect(open.lowerBound < closed.lowerBound)
  }

  @Test("converts Linux's lines to keys: labels, messages without times, interrupts without counts")
  func linux() {
    let facts = LinuxObservations(
      GuestLines(
        """
        lab: raw lspci Latency: 0
        lab: raw dmesg [ 0.123456] pci 0000:00:01.0: [8086:10d3] type 00
        lab: raw interrupts-after 24: 17 0 PCI-MSIX-0000:00:01.0 0-edge nvme0q0
        lab: ok network
        """)
    ).facts
    #expect(facts.values["lspci.Latency"] == "0")
    #expect(facts.values["dmesg: pci 0000:00:01.0: [8086:10d3] type 00"] == "said")
    #expect(facts.values["interrupts-after.nvme0q0"] == "PCI-MSIX-0000:00:01.0 0-edge fired")
    #expect(facts.values["step.network"] == "ok")
  }
}
