// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The facts of a Linux guest, as keys and values.
///
/// The guest's step `facts` prints them as lines `lab: raw SECTION TEXT`.
struct LinuxObservations {
  private(set) var facts = Observations()

  /// - Parameters:
  ///   - guest: The lines of the guest's output.
  ///   - slot: The device's PCI slot in the guest. The facts name it slot 1.
  init(_ guest: GuestLines, slot: Int = 1) {
    for line in guest.lines where line.hasPrefix("raw ") {
      let line = line.replacing("00:0\(slot).0", with: "00:01.0")
      let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
      guard words.count == 3 else { continue }
      add(String(words[1]), String(words[2]))
    }
    for line in guest.lines where line.hasPrefix("ok ") {
      facts.add("step.\(line.dropFirst(3).prefix { $0 != " " })", "ok")
    }
  }

  private mutating func add(_ section: String, _ line: String) {
    switch section {
    case "dmesg":
      // The time stamp and the duration differ from run to run.
      let text = line.replacing(#/^\[ *[0-9.]+\] /#, with: "").replacing(#/[0-9]+ usecs/#, with: "some usecs")
      facts.add("dmesg: \(text)", "said")
    case "interrupts", "interrupts-after": addInterrupt(section, line)
    case "function":
      let words = line.split(separator: " ", maxSplits: 1).map(String.init)
      facts.add("function.\(words.first ?? "")", words.last ?? "")
    default:
      // The label or number before a colon is the key. The rest of the line is the value.
      let text = line.trimmingCharacters(in: .whitespaces)
      guard !text.isEmpty else { return }
      if let match = text.firstMatch(of: #/^([^:]{1,40}?)\s*:\s*(.*)$/#) {
        let label = String(match.1)
        facts.add("\(section).\(label)", Self.isCounter(section, text) ? "(counts)" : String(match.2))
      } else {
        facts.add("\(section).\(text)", "there")
      }
    }
  }

  /// True if a value differs from run to run: the position in a queue, or a counter of a drive's lifetime.
  private static func isCounter(_ section: String, _ text: String) -> Bool {
    switch section {
    case "ethtool": text.contains(#/desc (head|tail)/#)
    case "smart": text.contains(#/(?i)units|commands|time|hours|cycles|shutdowns/#)
    default: false
    }
  }

  /// Adds a line such as `24: 17 PCI-MSIX-0000:00:01.0 0-edge nvme0q0`.
  ///
  /// The count differs from run to run. The fact states only whether the interrupt fired.
  private mutating func addInterrupt(_ section: String, _ line: String) {
    let words = line.split(separator: " ").map(String.init)
    guard words.count >= 4, let name = words.last else { return }
    let counts = words.dropFirst().prefix { Int($0) != nil }
    let kind = words.dropFirst(1 + counts.count).dropLast().joined(separator: " ")
    let fired = counts.contains { $0 != "0" }
    facts.add("\(section).\(name)", "\(kind) \(fired ? "fired" : "silent")")
  }
}
