// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `package`: builds the Debian package and uses it in clean roots of Debian.
struct PackageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "package",
    abstract: "Build the Debian package, and install, use and purge it in clean roots of Debian 12 and 13.",
    discussion: "The roots need debootstrap, the network and root.")

  func run() throws {
    let workspace = Workspace.current
    var report = Report()
    var package: DebianPackage?
    report.run("package-build") {
      let first = try DebianPackage.build(workspace)
      let sum = try first.sha256()
      let again = try DebianPackage.build(workspace).sha256()
      guard sum == again else { throw Failed("the second build gives other bytes: \(sum), \(again)") }
      package = first
      return "\(first.file.lastPathComponent), \(try first.size()) bytes, SHA-256 \(sum)"
    }
    if let package {
      report.run("package-lintian") { try package.lintian() }
      for suite in ["bookworm", "trixie"] {
        report.run("package-\(suite)") {
          let root = try CleanRoot.make(DebianSuite(suite), workspace)
          defer { try? root.remove() }  // only a leftover, which the next run replaces
          return try PackageUse(root: root, package: package, workspace: workspace).check()
        }
      }
    }
    throw ExitCode(report.finish())
  }
}

extension Report {
  /// Runs a check outside L1, and adds its result.
  mutating func run(_ name: String, _ body: () throws -> String) {
    add(Event(.start, name))
    add(Event(of: name, body))
  }
}

/// The Debian package of Sluice.
struct DebianPackage {
  let file: URL

  /// Builds the package.
  static func build(_ workspace: Workspace) throws -> DebianPackage {
    try Command.output([workspace.tree.appending(path: "Sources/Release/package").path])
    let directory = workspace.tree.appending(path: ".build/package")
    let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
    guard let name = names.first(where: { $0.hasSuffix(".deb") }) else {
      throw LabError("\(directory.path): no package; run Sources/Release/package")
    }
    return DebianPackage(file: directory.appending(path: name))
  }

  func sha256() throws -> String { String(try Command.output(["sha256sum", file.path]).prefix(64)) }

  func size() throws -> Int { try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0 }

  /// Checks the package with lintian. Returns a remark about the overrides.
  func lintian() throws -> String {
    // With another value, the exit status also depends on tags with an override. Root gets a warning of lintian
    // itself on standard error.
    let end = try Command.result(
      ["lintian", "--fail-on", "none", "--show-overrides", "--tag-display-limit", "0", file.path])
    guard end.status == 0 else { throw Failed("lintian: status \(end.status): \(end.errors)") }
    let lines = end.output.split(separator: "\n").filter { !$0.hasPrefix("N:") }
    let others = lines.filter { !$0.hasPrefix("O:") }
    guard others.isEmpty else { throw Failed(others.joined(separator: "; ")) }
    return lines.joined(separator: "; ")
  }

  /// The paths of the files in the package, without the leading slash. A directory is not a file.
  func files() throws -> [String] {
    try Command.output(["sh", "-c", #"dpkg-deb --fsys-tarfile "$1" | tar -t"#, "sh", file.path])
      .split(separator: "\n").filter { !$0.hasSuffix("/") }.map { String($0.dropFirst("./".count)) }
  }
}
