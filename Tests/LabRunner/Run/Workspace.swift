// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Where the lab keeps what it makes: all of it under `.build/lab` of the tree.
///
/// The paths are the same inside L1, whose root is this machine's.
struct Workspace {
  let tree: URL

  /// The tree that the current directory is the top of.
  static var current: Workspace {
    Workspace(tree: URL(filePath: FileManager.default.currentDirectoryPath, directoryHint: .isDirectory))
  }

  var lab: URL { tree.appending(path: ".build/lab") }
  var kernels: URL { lab.appending(path: "kernels") }
  var images: URL { lab.appending(path: "images") }
  var initramfs: URL { lab.appending(path: "initramfs") }
  /// Guests of `Guests/`, one ELF file each.
  var guests: URL { lab.appending(path: "guests") }
  /// Sluice with planted bugs.
  var planted: URL { lab.appending(path: "planted") }
  /// Programs of `Tests/Programs`.
  var programs: URL { lab.appending(path: "programs") }
  /// kvmtool's program, where there is one: it is no package of Debian's.
  static var kvmtool: String? {
    let environment = ProcessInfo.processInfo.environment
    if let path = environment["LAB_KVMTOOL"] { return path }
    let directories = (environment["PATH"] ?? "").split(separator: ":")
    return directories.flatMap { ["\($0)/lkvm", "\($0)/kvmtool"] }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Logs and traces; the one directory that L1 can write to.
  var out: URL { lab.appending(path: "out") }
  var manifest: URL { lab.appending(path: "manifest.json") }

  /// What `Sources/Release/build` makes.
  var sluice: URL { tree.appending(path: ".build/ship/sluice") }
  /// The same with its symbols.
  var symbols: URL { tree.appending(path: ".build/static/release/sluice") }
  var runner: URL { tree.appending(path: ".build/release/LabRunner") }
}
