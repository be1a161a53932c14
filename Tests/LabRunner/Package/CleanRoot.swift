// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The root directory of a new installation of Debian, with the packages that each installation has.
struct CleanRoot {
  let directory: URL

  /// The command before each command that changes the root.
  private static let asRoot = geteuid() == 0 ? [] : ["sudo"]

  /// Returns a copy of a root that debootstrap has created. The first call for a suite downloads its packages.
  static func make(_ suite: DebianSuite, _ workspace: Workspace) throws -> CleanRoot {
    let roots = workspace.lab.appending(path: "roots")
    let pristine = roots.appending(path: "clean-\(suite.name)")
    let complete = roots.appending(path: "clean-\(suite.name).complete")
    if !complete.exists {
      try CleanRoot(directory: pristine).remove()
      try roots.makeDirectory()
      let source = try AptLists.ownSource(DebianSuite.machine)
      printLine("lab: creating a root of \(suite.name)")
      let key = source.signedBy.map { ["--keyring", $0] } ?? []
      let end = try Command.result(
        asRoot + ["debootstrap", "--variant=minbase"] + key + [suite.name, pristine.path, source.address],
        mergingErrors: true)
      guard end.status == 0 else {
        throw Skipped(
          "debootstrap: \(end.output.split(separator: "\n").last ?? "status \(end.status)"); check the network"
        )
      }
      try Data().write(to: complete)
    }
    let root = CleanRoot(directory: roots.appending(path: "package-\(suite.name)"))
    try root.remove()
    try Command.output(asRoot + ["cp", "--archive", "--reflink=auto", pristine.path, root.directory.path])
    return root
  }

  func remove() throws {
    try Command.output(Self.asRoot + ["rm", "-rf", "--one-file-system", directory.path])
  }

  /// Copies a file to a path of the root.
  func copy(_ file: URL, to path: String) throws {
    try Command.output(Self.asRoot + ["cp", file.path, directory.appending(path: path).path])
  }

  /// Runs a program in the root, and returns its status and its output with its errors.
  func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
    // The mounts exist only for the command.
    let script = """
      root=$1 && shift
      mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" && mount -t proc proc "$root/proc" &&
      exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root \
        DEBIAN_FRONTEND=noninteractive "$@"
      """
    let end = try Command.result(
      Self.asRoot + ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", directory.path]
        + arguments,
      mergingErrors: true)
    return (end.status, end.output)
  }

  /// Runs a program in the root, and returns its output with its errors.
  ///
  /// - Throws: `Failed` if its exit status is another one.
  @discardableResult
  func output(_ arguments: [String], status: Int32 = 0) throws -> String {
    let end = try run(arguments)
    guard end.status == status else {
      throw Failed(
        "'\(arguments.joined(separator: " "))' ended with status \(end.status): "
          + end.output.split(separator: "\n").suffix(3).joined(separator: "; "))
    }
    return end.output
  }

  /// Returns the files of the root.
  func listing() throws -> RootListing {
    let script = """
      cd "$1" && find . -xdev -printf '%p\\t%y %m %U:%G %l\\n' &&
      find . -xdev -type f -print0 | xargs -0 sha256sum --zero | tr '\\0' '\\n'
      """
    return RootListing(try Command.output(Self.asRoot + ["sh", "-c", script, "sh", directory.path]))
  }
}
