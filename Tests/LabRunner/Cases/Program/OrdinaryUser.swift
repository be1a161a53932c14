// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A check that an ordinary user can run the lab. Root runs one case as `nobody`, in a copy of the files that
/// the lab has built.
struct OrdinaryUser {
  let workspace: Workspace

  /// The ID of Debian's user and group `nobody`.
  private static let nobody = "65534"
  private static let name = "ordinary-user"

  /// Runs the case `hello`, and adds the result to the report.
  func run(_ report: inout Report) throws {
    guard geteuid() == 0 else {
      report.add(Event(.skip, Self.name, text: "the whole lab already runs as an ordinary user"))
      return
    }
    report.add(Event(.start, Self.name))
    let start = ContinuousClock.now
    var event = Event(.pass, Self.name)
    let directory = URL(filePath: "/var/tmp/lab-\(getpid())")
    defer { try? FileManager.default.removeItem(at: directory) }  // a failure leaves only temporary files
    do {
      try copy(to: directory)
      let (status, output, errors) = try Command.result(
        [
          "setpriv", "--reuid", Self.nobody, "--regid", Self.nobody, "--clear-groups", "env",
          "HOME=\(directory.path)", "TMPDIR=\(directory.path)",
          directory.appending(path: ".build/release/LabRunner").path,
          "run", "hello",
        ], in: directory)
      let lines = (output + errors).split(separator: "\n")
      event.text = String(lines.last { $0.contains("passed, ") } ?? lines.last ?? "no output")
      if status != 0 {
        event.kind = .fail
        event.text = lines.suffix(5).joined(separator: "; ")
      }
    } catch {
      event.kind = .fail
      event.text = sentence(error)
    }
    event.seconds = (ContinuousClock.now - start) / .seconds(1)
    report.add(event)
  }

  /// Copies the files. Kernels become hard links, because they are large and only read. If the directory is
  /// on another file system, they are copied.
  private func copy(to directory: URL) throws {
    try directory.makeDirectory()
    for (path, option) in [
      (".build/release/LabRunner", "-L"), (".build/ship/sluice", "-L"), (".build/lab/guests", "-r"),
      (".build/lab/emulator", "-r"), (".build/lab/kernels", "-rl"),
    ] {
      let target = directory.appending(path: path)
      try target.deletingLastPathComponent().makeDirectory()
      let source = workspace.tree.appending(path: path).path
      if try Command.result(["cp", option, source, target.path]).status == 0 { continue }
      try target.removeIfPresent()
      try Command.output(["cp", "-r", source, target.path])
    }
    // The umask may deny access to other users.
    try Command.output(["chmod", "-R", "u=rwX,go=rX", directory.path])
    try Command.output([
      "find", directory.path, "-type", "d", "-exec", "chown", "\(Self.nobody):\(Self.nobody)", "{}", "+",
    ])
  }
}
