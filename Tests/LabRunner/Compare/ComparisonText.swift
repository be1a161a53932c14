// SPDX-License-Identifier: Apache-2.0

/// The text of a comparison for a terminal.
struct ComparisonText {
  let comparison: Comparison
  let peer: String

  var lines: [String] {
    let rows = comparison.rows
    let differing = rows.filter { $0.verdict != .same && $0.verdict != .time }
    let here = differing.count { $0.peer == nil }
    let there = differing.count { $0.sluice == nil }
    var lines = [
      "",
      "== \(comparison.name): \(rows.count) keys: \(rows.count { $0.verdict == .same }) same, "
        + "\(differing.count - here - there) differ, \(here) only under sluice, \(there) only under \(peer); "
        + "\(comparison.unexplained.count) unexplained",
    ]
    if !differing.isEmpty { lines += ["--- \(peer)", "+++ sluice"] }
    var reported: [Int] = []
    for row in differing {
      if let value = row.peer { lines.append("-\(row.key) = \(value)") }
      if let value = row.sluice { lines.append("+\(row.key) = \(value)") }
      switch row.verdict {
      case .explained(let entry) where !reported.contains(entry.line):
        reported.append(entry.line)
        lines.append(
          "    [\(entry.line)] right: \(entry.right == "peer" ? peer : entry.right). \(entry.why) (\(entry.source))"
        )
      case .explained(let entry): lines.append("    [\(entry.line)]")
      case .contradicted(let entry):
        lines.append("    [\(entry.line)] CONTRADICTED: expects \(entry.sluice ?? "") under Sluice")
      default: lines.append("    UNEXPLAINED")
      }
    }
    let times = rows.filter { $0.verdict == .time }
    if !times.isEmpty { lines.append("ticks (minimum, median, 99 of 100)   sluice | \(peer)") }
    for row in times {
      lines.append("  \(row.key.dropFirst("cycles.".count)): \(row.sluice ?? "-") | \(row.peer ?? "-")")
    }
    return lines
  }
}
