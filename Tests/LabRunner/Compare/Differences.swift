// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The known differences between Sluice and another VMM, from the file `differences` in this directory.
///
/// Empty lines separate entries. `#` begins a comment. Each entry has `keys` (patterns `CASE/KEY` with `*`,
/// separated by ` | `), `right` (sluice, peer or both), `why` and `source`. It may have patterns for the
/// values: `sluice` and `peer`.
struct Differences {
  struct Entry: Equatable {
    var line = 0
    var keys: [String] = []
    var right = ""
    var why = ""
    var source = ""
    var sluice: String?
    var peer: String?

    /// True if the entry explains a difference. An absent value is nil.
    func explains(_ key: String, sluice: String?, peer: String?) -> Bool {
      func fits(_ pattern: String?, _ value: String?) -> Bool {
        pattern.map { Pattern.matches($0, value ?? "(absent)") } ?? true
      }
      return keys.contains { Pattern.matches($0, key) } && fits(self.sluice, sluice) && fits(self.peer, peer)
    }

    /// True if the entry states that Sluice is right with another value than this one.
    func isContradicted(_ key: String, sluice value: String?) -> Bool {
      guard right == "sluice", let sluice, let value else { return false }
      return keys.contains { Pattern.matches($0, key) } && !Pattern.matches(sluice, value)
    }
  }

  private(set) var entries: [Entry] = []

  init(file: URL) throws { try self.init(String(contentsOf: file, encoding: .utf8)) }

  init(_ text: String) throws {
    var entry = Entry()
    for (index, line) in (text + "\n\n").split(separator: "\n", omittingEmptySubsequences: false).enumerated()
    {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.hasPrefix("#") { continue }
      if line.isEmpty {
        if !entry.keys.isEmpty || entry.line > 0 { try add(entry) }
        entry = Entry()
        continue
      }
      if entry.line == 0 { entry.line = index + 1 }
      let words = line.split(separator: " ", maxSplits: 1).map(String.init)
      let value = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : ""
      switch words[0] {
      case "keys": entry.keys += value.components(separatedBy: " | ")
      case "sluice": entry.sluice = value
      case "peer": entry.peer = value
      case "right": entry.right = value
      case "why": entry.why += (entry.why.isEmpty ? "" : " ") + value
      case "source": entry.source += (entry.source.isEmpty ? "" : " ") + value
      default:
        throw Failed(
          "differences:\(index + 1): unknown field '\(words[0])'; use keys, sluice, peer, right, why or source"
        )
      }
    }
  }

  private mutating func add(_ entry: Entry) throws {
    guard !entry.keys.isEmpty, ["sluice", "peer", "both"].contains(entry.right), !entry.why.isEmpty,
      !entry.source.isEmpty
    else {
      throw Failed(
        "differences:\(entry.line): incomplete entry; add keys, right (sluice, peer or both), why and source")
    }
    entries.append(entry)
  }
}

/// A pattern in which `*` matches any text.
enum Pattern {
  static func matches(_ pattern: String, _ text: String) -> Bool {
    let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
    guard parts.count > 1, let first = parts.first, let last = parts.last else { return pattern == text }
    guard text.hasPrefix(first) else { return false }
    var rest = text.dropFirst(first.count)
    for part in parts.dropFirst().dropLast() {
      guard let range = rest.range(of: part) ?? (part.isEmpty ? rest.startIndex..<rest.startIndex : nil)
      else {
        return false
      }
      rest = rest[range.upperBound...]
    }
    return rest.hasSuffix(last)
  }
}
