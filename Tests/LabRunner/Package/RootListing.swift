// SPDX-License-Identifier: Apache-2.0

/// The files of a root directory: the type, mode and owner, the target of a link, and the contents of a file.
struct RootListing: Equatable {
  private let facts: [String: String]

  /// The files in which apt and dpkg record each of their runs.
  private static let records = [
    "var/log/", "var/cache/apt/", "var/lib/apt/", "var/lib/dpkg/status", "var/lib/dpkg/status-old",
    "var/lib/dpkg/lock", "var/lib/dpkg/triggers/", "var/cache/ldconfig/",
    "var/cache/debconf/",
    // The state before the last change, which the tools for users write.
    "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock",
  ]

  /// Reads lines of `find` (`./PATH`, a tab and facts) and of `sha256sum`.
  init(_ text: String) {
    var facts: [String: String] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 {
        facts[String(parts[0].dropFirst(2)), default: ""] += String(parts[1])
      } else if let start = line.firstRange(of: "  ./") {
        facts[String(line[start.upperBound...]), default: ""] += String(line[..<start.lowerBound])
      }
    }
    self.facts = facts.filter { path, _ in !Self.records.contains(where: path.hasPrefix) }
  }

  /// Returns the files that another listing adds, lacks or changes, as `+PATH`, `-PATH` and `*PATH`.
  func changes(in other: RootListing) -> [String] {
    let paths = Set(facts.keys).union(other.facts.keys).sorted()
    return paths.compactMap { path in
      switch (facts[path], other.facts[path]) {
      case (nil, _): "+\(path)"
      case (_, nil): "-\(path)"
      case (let old, let new): old == new ? nil : "*\(path)"
      }
    }
  }

  /// True if the root has a file with this path.
  func has(_ path: String) -> Bool { facts[path] != nil }
}
