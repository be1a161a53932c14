// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The paths of the lab's files. All files that it creates are below `.build/lab` of the tree.
///
/// The paths are the same inside L1, because L1's root is the root of this machine.
struct Workspace {
  let tree: URL

  /// The workspace whose tree is the current directory.
  static var current: Workspace {
    Workspace(tree: URL(filePath: FileManager.default.currentDirectoryPath, directoryHint: .isDirectory))
  }

  var lab: URL { tree.appending(path: ".build/lab") }
  var kernels: URL { lab.appending(path: "kernels") }
  var images: URL { lab.appending(path: "images") }
  var initramfs: URL { lab.appending(path: "initramfs") }
  /// The directory of the guests of `Guests/`, one ELF file each.
  var guests: URL { lab.appending(path: "guests") }
  /// The directory of the Sluice programs with a planted bug.
  var planted: URL { lab.appending(path: "planted") }
  /// The directory of the programs of `Tests/Programs`.
  var programs: URL { lab.appending(path: "programs") }
  /// The path of kvmtool's program, or nil if it is not installed. Debian has no package of it.
  static var kvmtool: String? {
    let environment = ProcessInfo.processInfo.environment
    if let path = environment["LAB_KVMTOOL"] { return path }
    let directories = (environment["PATH"] ?? "").split(separator: ":")
    return directories.flatMap { ["\($0)/lkvm", "\($0)/kvmtool"] }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// The directory of logs and traces. It is the only directory that L1 can write to.
  var out: URL { lab.appending(path: "out") }
  var manifest: URL { lab.appending(path: "manifest.json") }

  /// The program that `Sources/Release/build` creates.
  var sluice: URL { tree.appending(path: ".build/ship/sluice") }
  /// The same program with its symbols.
  var symbols: URL { tree.appending(path: ".build/static/release/sluice") }
  var runner: URL { tree.appending(path: ".build/release/LabRunner") }
}
