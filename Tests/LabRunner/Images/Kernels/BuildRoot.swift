// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory in which the modules of a kernel are built, with the headers and the source of the kernel.
///
/// The headers' programs need the C library of the kernel's suite, and the modules need its compiler. If the
/// suite is not this machine's, the directory is also the root of the build. It then has the packages that
/// compile, unpacked and not installed.
struct BuildRoot {
  let directory: URL
  /// True if the build sees the directory as its root.
  let isForeign: Bool

  /// The packages with the programs of the kernel's Makefiles, without the headers' dependencies.
  static let packages = [
    "make", "binutils", "dash", "bash", "coreutils", "sed", "grep", "mawk", "findutils",
  ]

  /// The links that a release has in its root. The second path is relative to the first.
  private static let links = [
    ("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"),
    ("usr/bin/awk", "mawk"), ("usr/bin/sh", "dash"),
  ]

  /// Returns the path of a file of the root in the build.
  func path(_ name: String) -> String {
    isForeign ? "/" + name : directory.appending(path: name).path
  }

  /// Creates an empty root.
  func create() throws {
    try directory.removeIfPresent()
    try directory.makeDirectory()
    guard isForeign else { return }
    for name in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "dev", "proc", "tmp"] {
      try directory.appending(path: name).makeDirectory()
    }
    for (link, target) in Self.links {
      try FileManager.default.createSymbolicLink(
        atPath: directory.appending(path: link).path, withDestinationPath: target)
    }
  }

  /// Downloads packages to the directory `packages` of the root.
  ///
  /// A foreign root gets the packages on which these depend, as for a machine without any package.
  ///
  /// - Parameters:
  ///   - names: The packages, with or without `=VERSION`.
  ///   - options: The options that make apt use the lists of the suite.
  ///   - programs: More packages of a foreign root.
  func download(_ names: [String], _ options: [String], programs: [String] = Self.packages) throws {
    let archives = directory.appending(path: "packages")
    try archives.appending(path: "partial").makeDirectory()
    guard isForeign else { return try AptGet.run(options + ["download"] + names, in: archives) }
    let none = archives.appending(path: "status")
    try Data().write(to: none)
    let settings = [
      "Dir::State::status=\(none.path)", "Dir::Cache::archives=\(archives.path)", "Debug::NoLocking=1",
      "APT::Sandbox::User=root",
    ]
    try AptGet.run(
      options + settings.flatMap { ["-o", $0] }
        + ["install", "-y", "--download-only", "--no-install-recommends"] + names + programs)
  }

  /// Returns the downloaded packages whose names begin with one of these texts.
  func files(of names: [String]) throws -> [URL] {
    let archives = directory.appending(path: "packages")
    return try FileManager.default.contentsOfDirectory(atPath: archives.path).sorted()
      .filter { file in file.hasSuffix(".deb") && names.contains(where: file.hasPrefix) }
      .map { archives.appending(path: $0) }
  }

  /// Unpacks the downloaded packages, except the kernel's source.
  ///
  /// Before Debian 13, packages have files in /bin and /lib. `dpkg -x` would replace the links by directories.
  func unpack() throws {
    let script = #"dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --no-same-owner"#
    for file in try files(of: [""]) where !file.lastPathComponent.hasPrefix("linux-source-") {
      try Command.output(["sh", "-c", script, "sh", file.path, directory.path])
    }
  }

  /// Runs a program in the root, and returns its status and its output with its errors.
  func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
    let end = try Command.result(
      isForeign ? Self.enter(directory) + arguments : arguments, mergingErrors: true)
    return (end.status, end.output)
  }

  /// Returns the command that runs its further arguments with this root.
  ///
  /// The mounts of /dev and /proc exist only for the command. An ordinary user needs a user namespace for them.
  private static func enter(_ root: URL) -> [String] {
    let script = """
      mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && root=$1 && shift && exec chroot "$root" "$@"
      """
    let user = geteuid() == 0 ? [] : ["--map-root-user"]
    return ["unshare"] + user + ["--mount", "--pid", "--fork", "sh", "-c", script, "sh", root.path]
  }
}
