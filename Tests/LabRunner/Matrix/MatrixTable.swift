// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The results of cases on several kernels, as a table and in KTAP.
struct MatrixTable {
  let cases: [String]
  let rows: [MatrixRow]

  /// A column for each row of the matrix, because there are more cases than kernels. The reasons follow the table.
  var text: String {
    let first = ((cases + ["seconds"]).map(\.count).max() ?? 0) + 2
    let widths = rows.map { max($0.name.count, 6) + 2 }
    func line(_ head: String, _ words: [String]) -> String {
      let columns = zip(words, widths).map { word, width in
        word.padding(toLength: width, withPad: " ", startingAt: 0)
      }
      let text = head.padding(toLength: first, withPad: " ", startingAt: 0) + columns.joined()
      return String(text.reversed().drop { $0 == " " }.reversed())
    }
    var lines = [line("", rows.map(\.name))]
    for name in cases {
      lines.append(
        line(name, rows.map { row in row.cells.first { $0.name == name }?.outcome.rawValue ?? "-" }))
    }
    lines.append(line("seconds", rows.map { String($0.seconds) }))
    lines.append("")
    for row in rows {
      lines.append("\(row.name): \(Self.verdict(row))")
      for cell in row.cells where cell.outcome != .pass {
        lines.append("  \(cell.outcome.rawValue) \(cell.name): \(cell.text)")
      }
    }
    return lines.map { $0 + "\n" }.joined()
  }

  private static func verdict(_ row: MatrixRow) -> String {
    guard row.hasStarted else { return "L1 did not start" }
    let failed = row.cells.count { $0.outcome == .fail }
    let counts =
      "\(row.cells.count { $0.outcome == .pass }) passed, \(failed) failed, "
      + "\(row.cells.count { $0.outcome == .skip }) skipped"
    guard let mutant = row.kernel.mutant else { return counts }
    return "\(counts); the kernel's fault '\(mutant.rawValue)' is \(failed > 0 ? "detected" : "not detected")"
  }

  /// The results in KTAP version 1 (Linux Documentation/dev-tools/ktap.rst): a test for each row, with a subtest for each
  /// case.
  var ktap: String {
    var lines = ["KTAP version 1", "1..\(rows.count)"]
    for (index, row) in rows.enumerated() {
      lines.append("  KTAP version 1")
      lines.append("  # Subtest: \(row.name)")
      lines.append("  1..\(row.cells.count)")
      for (number, cell) in row.cells.enumerated() {
        let result = cell.outcome == .fail ? "not ok" : "ok"
        let directive = cell.outcome == .skip ? " # SKIP \(Self.oneLine(cell.text))" : ""
        if cell.outcome == .fail { lines.append("  # \(Self.oneLine(cell.text))") }
        lines.append("  \(result) \(number + 1) \(cell.name)\(directive)")
      }
      lines.append("\(row.isExpected ? "ok" : "not ok") \(index + 1) \(row.name)")
    }
    return lines.map { $0 + "\n" }.joined()
  }

  private static func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).joined(separator: " ")
  }
}
