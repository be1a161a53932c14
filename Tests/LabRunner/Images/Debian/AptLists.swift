// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Separate package lists of the lab. With them, apt sees only the suites that are named.
struct AptLists {
  let workspace: Workspace

  /// Returns the options that make apt use the lists of these suites. The first call downloads the lists.
  ///
  /// - Parameters:
  ///   - suites: The suites. If several have a package, apt prefers the release to its backports.
  ///   - type: `deb`, or `deb-src` for source packages.
  func options(_ suites: [DebianSuite], type: String = "deb") throws -> [String] {
    let name = suites.map(\.name).joined(separator: "+") + (type == "deb" ? "" : "-sources")
    let directory = workspace.lab.appending(path: "apt/\(name)")
    let list = directory.appending(path: "lab.list")
    let lists = directory.appending(path: "lists")
    let options = [
      "Dir::Etc::SourceList=\(list.path)", "Dir::Etc::SourceParts=/dev/null",
      "Dir::State::Lists=\(lists.path)", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
    ].flatMap { ["-o", $0] }
    let complete = directory.appending(path: ".complete")
    if !complete.exists {
      try lists.appending(path: "partial").makeDirectory()
      let source = try Self.ownSource(DebianSuite.machine)
      try Data(suites.map { source.line(type, suite: $0.name) }.joined().utf8).write(to: list)
      try AptGet.run(options + ["update", "--error-on=any"])
      try Data().write(to: complete)
    }
    return options
  }

  /// Returns the entry for this suite in the source lists of this machine.
  static func ownSource(_ suite: DebianSuite) throws -> AptSource {
    let parts = URL(filePath: "/etc/apt/sources.list.d")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parts.path)) ?? []  // may be absent
    let files =
      [URL(filePath: "/etc/apt/sources.list")]
      + names.sorted().filter { $0.hasSuffix(".list") || $0.hasSuffix(".sources") }
      .map { parts.appending(path: $0) }
    for file in files where file.exists {
      let text = try String(contentsOf: file, encoding: .utf8)
      if let source = AptSource.find(suite: suite.name, in: text) { return source }
    }
    throw LabError("apt's source lists: no entry for the suite \(suite.name)")
  }
}
