// SPDX-License-Identifier: Apache-2.0

/// The facts of one case under Sluice and under a peer, side by side.
struct Comparison {
  enum Verdict: Equatable {
    case same
    /// A time, which is shown and not compared.
    case time
    /// Differs, or is there once only, and an entry of the differences says why.
    case explained(Differences.Entry)
    /// The same for both, but an entry says that Sluice is right with another value.
    case contradicted(Differences.Entry)
    /// Differs, and no one has said why.
    case unexplained
  }

  struct Row {
    let key: String
    let sluice: String?
    let peer: String?
    let verdict: Verdict
  }

  let name: String
  let rows: [Row]

  init(_ name: String, sluice: Observations, peer: Observations, _ differences: Differences) {
    self.name = name
    let keys = sluice.keys + peer.keys.filter { sluice.values[$0] == nil }
    rows = keys.map { key in
      let here = sluice.values[key]
      let there = peer.values[key]
      return Row(
        key: key, sluice: here, peer: there, verdict: Self.verdict("\(name)/\(key)", here, there, differences)
      )
    }
  }

  private static func verdict(
    _ key: String, _ sluice: String?, _ peer: String?, _ differences: Differences
  ) -> Verdict {
    if key.contains("/cycles.") { return .time }
    if sluice == peer {
      let entry = differences.entries.first { $0.isContradicted(key, sluice: sluice) }
      return entry.map { .contradicted($0) } ?? .same
    }
    let entry = differences.entries.first { $0.explains(key, sluice: sluice, peer: peer) }
    return entry.map { .explained($0) } ?? .unexplained
  }

  func count(_ predicate: (Row) -> Bool) -> Int { rows.count(where: predicate) }

  /// What fails: differences that no entry explains, and values that an entry contradicts.
  var unexplained: [Row] {
    rows.filter { row in
      if case .contradicted = row.verdict { true } else { row.verdict == .unexplained }
    }
  }

  /// Where the peer is said to be right.
  var wrong: [Row] {
    rows.filter { row in
      if case .explained(let entry) = row.verdict { entry.right == "peer" } else { false }
    }
  }

  /// The entries' patterns that no difference of these comparisons fits though all their cases were run.
  ///
  /// - Parameter names: All cases that there are.
  static func unused(
    _ differences: Differences, in all: [Comparison], of names: [String]
  ) -> [String] {
    differences.entries.flatMap { entry in
      entry.keys.filter { pattern in
        func isMeant(_ name: String) -> Bool { Pattern.matches(String(pattern.prefix { $0 != "/" }), name) }
        let cases = all.filter { isMeant($0.name) }
        guard !cases.isEmpty, cases.count == names.count(where: isMeant) else { return false }
        return !cases.contains { one in
          one.rows.contains { row in
            row.verdict == .explained(entry) && Pattern.matches(pattern, "\(one.name)/\(row.key)")
          }
        }
      }
      .map { "line \(entry.line): \($0)" }
    }
  }
}
