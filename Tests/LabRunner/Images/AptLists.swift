// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Separate package lists of the lab. With them, apt sees only one suite of this machine's Debian.
struct AptLists {
  let workspace: Workspace

  /// The kind of packages in the lists.
  enum Content: String {
    /// Packages of the backports.
    case backports
    /// Source packages of this machine's suite.
    case sources
  }

  /// Returns the options that make apt use these lists. The first call downloads the lists.
  func options(_ content: Content) throws -> [String] {
    let directory = workspace.lab.appending(path: "apt/\(content.rawValue)")
    let list = directory.appending(path: "\(content.rawValue).list")
    let lists = directory.appending(path: "lists")
    let options = [
      "Dir::Etc::SourceList=\(list.path)", "Dir::Etc::SourceParts=/dev/null",
      "Dir::State::Lists=\(lists.path)", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
    ].flatMap { ["-o", $0] }
    let complete = directory.appending(path: ".complete")
    if !complete.exists {
      try lists.appending(path: "partial").makeDirectory()
      try Data(line(content).utf8).write(to: list)
      try Command.output(["apt-get"] + options + ["update", "--error-on=any"])
      try Data().write(to: complete)
    }
    return options
  }

  private func line(_ content: Content) throws -> String {
    let suite = try suite()
    let source = try ownSource(suite)
    return switch content {
    case .backports: source.line(suite: "\(suite)-backports")
    case .sources: source.line("deb-src", suite: suite)
    }
  }

  /// Returns the entry for this suite in the source lists of this machine.
  private func ownSource(_ suite: String) throws -> AptSource {
    let parts = URL(filePath: "/etc/apt/sources.list.d")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parts.path)) ?? []  // may be absent
    let files =
      [URL(filePath: "/etc/apt/sources.list")]
      + names.sorted().filter { $0.hasSuffix(".list") || $0.hasSuffix(".sources") }
      .map { parts.appending(path: $0) }
    for file in files where file.exists {
      let text = try String(contentsOf: file, encoding: .utf8)
      if let source = AptSource.find(suite: suite, in: text) { return source }
    }
    throw LabError("apt's source lists: no entry for the suite \(suite)")
  }

  private func suite() throws -> String {
    let text = try String(contentsOf: URL(filePath: "/etc/os-release"), encoding: .utf8)
    for line in text.split(separator: "\n") where line.hasPrefix("VERSION_CODENAME=") {
      return String(line.dropFirst("VERSION_CODENAME=".count))
    }
    throw LabError("/etc/os-release: no VERSION_CODENAME; run the lab on Debian")
  }
}
