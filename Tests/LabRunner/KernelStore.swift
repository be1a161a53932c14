// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Debian's kernels, downloaded and unpacked under `.build/lab/kernels`.
struct KernelStore {
  let workspace: Workspace

  /// The kernel if it is here already or can be had; else the reason.
  func kernel(_ name: KernelName) -> Result<KernelPackage, LabError> {
    Result {
      let root = workspace.kernels.appending(path: name.rawValue)
      let complete = root.appending(path: ".complete")
      if !complete.exists {
        try root.removeIfPresent()
        try root.makeDirectory()
        try unpack(name, into: root)
        let kernel = try KernelPackage(root: root)
        try Command.output(["depmod", "-b", root.path, kernel.version])
        try Data().write(to: complete)
      }
      return try KernelPackage(root: root)
    }.mapError { LabError("kernel \(name.rawValue): \($0)") }
  }

  private func unpack(_ name: KernelName, into root: URL) throws {
    let options = name.isBackport ? try backportOptions() : []
    let package = try dependency(of: name.metaPackage, options)
    say("lab: downloading \(package)")
    let download = root.appending(path: "download")
    try download.makeDirectory()
    try Command.output(["apt-get"] + options + ["download", package], in: download)
    for file in try FileManager.default.contentsOfDirectory(atPath: download.path) {
      try Command.output(["dpkg", "-x", download.appending(path: file).path, root.path])
    }
    try download.removeIfPresent()
  }

  /// The package with the kernel itself that the meta package stands for.
  private func dependency(of package: String, _ options: [String]) throws -> String {
    let output = try Command.output(["apt-cache"] + options + ["depends", "--important", package])
    for line in output.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == "Depends:", words[1].hasPrefix("linux-image-") {
        return String(words[1])
      }
    }
    throw LabError("\(package) names no kernel package: is its suite in apt's lists?")
  }

  /// Options that make apt see the backports of this machine's Debian, and nothing else.
  private func backportOptions() throws -> [String] {
    let directory = workspace.lab.appending(path: "apt")
    let list = directory.appending(path: "backports.list")
    let lists = directory.appending(path: "lists")
    let options = [
      "Dir::Etc::SourceList=\(list.path)", "Dir::Etc::SourceParts=/dev/null",
      "Dir::State::Lists=\(lists.path)", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
    ].flatMap { ["-o", $0] }
    let complete = directory.appending(path: ".complete")
    if !complete.exists {
      try lists.appending(path: "partial").makeDirectory()
      try Data(ownSource().line(suite: "\(suite())-backports").utf8).write(to: list)
      try Command.output(["apt-get"] + options + ["update", "--error-on=any"])
      try Data().write(to: complete)
    }
    return options
  }

  /// The entry of this machine's own lists that its own suite comes from.
  private func ownSource() throws -> AptSource {
    let suite = try suite()
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
    throw LabError("apt's source lists have no entry for \(suite)")
  }

  private func suite() throws -> String {
    let text = try String(contentsOf: URL(filePath: "/etc/os-release"), encoding: .utf8)
    for line in text.split(separator: "\n") where line.hasPrefix("VERSION_CODENAME=") {
      return String(line.dropFirst("VERSION_CODENAME=".count))
    }
    throw LabError("/etc/os-release names no VERSION_CODENAME: the lab needs Debian")
  }
}
