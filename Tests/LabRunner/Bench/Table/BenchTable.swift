// SPDX-License-Identifier: Apache-2.0

/// The table of `bench`. A row has the median and the spread of one VMM, and Sluice's ratio to that VMM.
struct BenchTable {
  /// One line. A column that does not apply is empty.
  struct Row: Equatable {
    var figure = ""
    var monitor = ""
    /// Median and spread.
    var value = ""
    /// Sluice's number divided by this VMM's number, pair by pair.
    var ratio = ""
    var aim = ""
    /// `met` or `missed`, or empty without an aim.
    var verdict = ""

    var cells: [String] { [figure, monitor, value, ratio, aim, verdict] }
  }

  static let heading = Row(
    figure: "figure", monitor: "VMM", value: "median (min–max)", ratio: "Sluice ÷ VMM", aim: "aim")

  let rows: [Row]

  init(_ figures: [Figure], _ samples: Samples) {
    rows = figures.flatMap { Self.rows($0, samples.values[$0.name] ?? [:]) }
  }

  private static func rows(_ figure: Figure, _ values: [String: [Double]]) -> [Row] {
    var rows: [Row] = []
    let label = figure.label
    let own = values[VMMName.sluice.rawValue] ?? []
    for vmm in VMMName.allCases {
      guard let series = Series(values[vmm.rawValue] ?? []) else { continue }
      var row = Row(figure: rows.isEmpty ? label : "", monitor: vmm.title, value: series.text)
      if vmm == .sluice {
        judge(series, figure.aims.filter { $0.reference == .number }, &row)
      } else if let ratio = Series(own, over: series.values) {
        row.ratio = ratio.text
        judge(ratio, figure.aims.filter { $0.reference == .vmm(vmm) }, &row)
      }
      rows.append(row)
    }
    let others = VMMName.allCases.filter { $0 != .sluice }.compactMap { values[$0.rawValue] }
    for aim in figure.aims where aim.reference == .best && !others.isEmpty {
      let best = own.indices.compactMap { index in
        others.compactMap { index < $0.count ? $0[index] : nil }.min()
      }
      guard let series = Series(best), let ratio = Series(own, over: best) else { continue }
      var row = Row(monitor: "best of the others", value: series.text, ratio: ratio.text)
      judge(ratio, [aim], &row)
      rows.append(row)
    }
    return rows
  }

  private static func judge(_ series: Series, _ aims: [Aim], _ row: inout Row) {
    guard let aim = aims.first else { return }
    row.aim = aim.text
    row.verdict = aim.isMet(by: series.median) ? "met" : "missed"
  }

  /// The lines of the table, with aligned columns.
  var lines: [String] {
    let all = [Self.heading] + rows
    let widths = Self.heading.cells.indices.map { column in all.map { $0.cells[column].count }.max() ?? 0 }
    return all.map { row in
      let cells = zip(row.cells, widths).map { cell, width in
        cell + String(repeating: " ", count: width - cell.count)
      }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }

  /// The number of missed aims.
  var missed: Int { rows.count { $0.verdict == "missed" } }
  /// The number of met aims.
  var met: Int { rows.count { $0.verdict == "met" } }
}
