// SPDX-License-Identifier: Apache-2.0

/// A comparison of the facts of one case under Sluice and under a peer.
struct Comparison {
  enum Verdict: Equatable {
    case same
    /// A time. It is printed, and not compared.
    case time
    /// Differs, or exists under one VMM only. An entry of the differences gives the reason.
    case explained(Differences.Entry)
    /// Equal under both, but an entry states that Sluice is right with another value.
    case contradicted(Differences.Entry)
    /// Differs, and no entry gives the reason.
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

  /// The rows that fail: differences that no entry explains, and values that an entry contradicts.
  var unexplained: [Row] {
    rows.filter { row in
      if case .contradicted = row.verdict { true } else { row.verdict == .unexplained }
    }
  }

  /// The rows for which an entry states that the peer is right.
  var wrong: [Row] {
    rows.filter { row in
      if case .explained(let entry) = row.verdict { entry.right == "peer" } else { false }
    }
  }

  /// Returns the patterns of entries that match no difference, although all of their cases ran.
  ///
  /// - Parameters:
  ///   - differences: The entries.
  ///   - all: The comparisons of the cases that ran.
  ///   - names: The names of all cases.
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
