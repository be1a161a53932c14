// SPDX-License-Identifier: Apache-2.0

/// A self-contained HTML page of comparisons.
struct ComparisonPage {
  let comparisons: [Comparison]
  let peer: String
  /// The kernel of L1 and the date.
  let title: String
  let unused: [String]

  private static func escape(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
      .replacing("\"", with: "&quot;")
  }

  var html: String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><title>Sluice compared with \(peer)</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <style>\(Self.style)</style></head><body>
    <h1>Sluice compared with \(peer)</h1>
    <p class="lead">The same guest, device, memory and CPUs under both. \(Self.escape(title))</p>
    \(summary)
    \(unused.isEmpty ? "" : "<p class=\"bad\">Entries that match no difference: \(unused.map(Self.escape).joined(separator: ", "))</p>")
    \(comparisons.map(section).joined(separator: "\n"))
    </body></html>

    """
  }

  private var summary: String {
    let rows = comparisons.map { one in
      let differing = one.rows.filter { $0.verdict != .same && $0.verdict != .time }
      let open = one.unexplained.count
      return """
        <tr><td><a href="#\(one.name)">\(one.name)</a></td><td>\(one.rows.count)</td>\
        <td>\(one.count { $0.verdict == .same })</td>\
        <td>\(differing.count { $0.sluice != nil && $0.peer != nil })</td>\
        <td>\(differing.count { $0.peer == nil })</td><td>\(differing.count { $0.sluice == nil })</td>\
        <td class="\(open == 0 ? "good" : "bad")">\(open)</td></tr>
        """
    }
    return """
      <table class="summary"><thead><tr><th>case</th><th>keys</th><th>same</th><th>differ</th>\
      <th>only Sluice</th><th>only \(peer)</th><th>unexplained</th></tr></thead>
      <tbody>\(rows.joined(separator: "\n"))</tbody></table>
      """
  }

  private func section(_ one: Comparison) -> String {
    let groups = Self.groups(of: one)
    let times = one.rows.filter { $0.verdict == .time }
    return """
      <section id="\(one.name)"><h2>\(one.name)</h2>
      \(groups.isEmpty ? "<p class=\"good\">No differences.</p>" : groups.map(group).joined(separator: "\n"))
      \(times.isEmpty ? "" : Self.timeTable(times, peer))
      <details><summary>\(one.count { $0.verdict == .same }) keys are equal</summary><table><tbody>
      \(one.rows.filter { $0.verdict == .same }.map { "<tr><td>\(Self.escape($0.key))</td><td>\(Self.escape($0.sluice ?? ""))</td></tr>" }.joined(separator: "\n"))
      </tbody></table></details></section>
      """
  }

  /// Returns the differing rows, grouped by entry. The unexplained rows come first.
  private static func groups(of one: Comparison) -> [(entry: Differences.Entry?, rows: [Comparison.Row])] {
    var groups: [(entry: Differences.Entry?, rows: [Comparison.Row])] = []
    if !one.unexplained.isEmpty { groups.append((nil, one.unexplained)) }
    for row in one.rows {
      guard case .explained(let entry) = row.verdict else { continue }
      if let index = groups.firstIndex(where: { $0.entry == entry }) {
        groups[index].rows.append(row)
      } else {
        groups.append((entry, [row]))
      }
    }
    return groups
  }

  private func group(_ group: (entry: Differences.Entry?, rows: [Comparison.Row])) -> String {
    let head: String
    if let entry = group.entry {
      let right = entry.right == "peer" ? peer : entry.right == "both" ? "both are right" : "Sluice is right"
      head = """
        <p><span class="tag \(entry.right)">\(right)</span> \(Self.escape(entry.why)) \
        <span class="source">\(Self.escape(entry.source))</span></p>
        """
    } else {
      head = "<p><span class=\"tag bad\">unexplained</span></p>"
    }
    func cell(_ value: String?) -> String {
      value.map { "<td>\(Self.escape($0))</td>" } ?? "<td class=\"absent\">absent</td>"
    }
    let rows = group.rows.map { "<tr><td>\(Self.escape($0.key))</td>\(cell($0.sluice))\(cell($0.peer))</tr>" }
    let table = """
      <table><thead><tr><th>key</th><th>Sluice</th><th>\(peer)</th></tr></thead>
      <tbody>\(rows.joined(separator: "\n"))</tbody></table>
      """
    if group.rows.count <= 12 || group.entry == nil { return "<div class=\"group\">\(head)\(table)</div>" }
    return """
      <div class="group">\(head)<details><summary>\(group.rows.count) keys</summary>\(table)</details></div>
      """
  }

  private static func timeTable(_ rows: [Comparison.Row], _ peer: String) -> String {
    func median(_ value: String?) -> Double? {
      value?.split(separator: " ").dropFirst().first.flatMap { Double($0) }
    }
    let most = rows.flatMap { [median($0.sluice), median($0.peer)] }.compactMap { $0 }.max() ?? 1
    func bar(_ value: String?, _ kind: String) -> String {
      guard let value = median(value) else { return "<td class=\"absent\">absent</td>" }
      let width = max(1, value / most * 100)
      return "<td class=\"bar\"><i class=\"\(kind)\" style=\"width:\(Int(width))%\"></i>\(Int(value))</td>"
    }
    let lines = rows.map { row in
      "<tr><td>\(escape(String(row.key.dropFirst(7))))</td>\(bar(row.sluice, "here"))\(bar(row.peer, "there"))</tr>"
    }
    return """
      <h3>Ticks of the guest's time stamp counter, median of 50</h3>
      <table class="times"><thead><tr><th>access</th><th>Sluice</th><th>\(peer)</th></tr></thead>
      <tbody>\(lines.joined(separator: "\n"))</tbody></table>
      """
  }

  private static let style = """
    :root{color-scheme:light dark;--line:#8884;--good:#2a7d46;--bad:#c0392b;--soft:#8881}
    body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
    h1{margin:0}h2{margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line)}h3{font-size:1rem;margin:1.5rem 0 .3rem}
    .lead{opacity:.75;margin:.2rem 0 1.5rem}
    table{border-collapse:collapse;width:100%;font:13px/1.45 ui-monospace,monospace;margin:.4rem 0}
    th{text-align:left;font-weight:600;opacity:.7}td,th{padding:.15rem .6rem .15rem 0;border-bottom:1px solid var(--line);\
    vertical-align:top;overflow-wrap:anywhere}
    td:first-child{width:34%}.summary td:first-child{width:auto}
    .summary{font:15px/1.6 system-ui,sans-serif;width:auto}.summary td,.summary th{padding-right:1.6rem}
    .good{color:var(--good)}.bad{color:var(--bad);font-weight:600}.absent{opacity:.45}
    .group{background:var(--soft);border-radius:6px;padding:.5rem .9rem;margin:.8rem 0}.group p{margin:.2rem 0}
    .tag{font-size:12px;border-radius:4px;padding:.1rem .45rem;border:1px solid currentColor;margin-right:.4rem}
    .tag.sluice,.tag.both{color:var(--good)}.tag.peer{color:var(--bad)}
    .source{opacity:.6;font-size:13px}details>summary{cursor:pointer;opacity:.8}
    .bar{position:relative;width:33%}.bar i{display:inline-block;height:.7em;border-radius:2px;margin-right:.5em;\
    max-width:70%}.here{background:#3b82c4}.there{background:#c48a3b}
    """
}
