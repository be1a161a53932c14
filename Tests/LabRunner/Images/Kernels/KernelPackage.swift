// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// A kernel and its modules, unpacked and not installed.
struct KernelPackage: Sendable {
  /// The directory with `boot` and `lib/modules`. From Linux 7.2 on, `lib` is a link to `usr/lib`, and Debian's
  /// kernel is beside its modules.
  let root: URL
  /// The version in the format of `uname -r`.
  let version: String

  var modules: URL { root.appending(path: "lib/modules/\(version)") }

  var image: URL {
    let old = root.appending(path: "boot/vmlinuz-\(version)")
    return old.exists ? old : modules.appending(path: "vmlinuz")
  }

  /// Finds the only kernel in an unpacked package.
  init(root: URL) throws {
    self.root = root
    let names = try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "lib/modules").path)
    guard names.count == 1, let version = names.first else {
      throw LabError("\(root.path): expected one kernel below lib/modules, found \(names)")
    }
    self.version = version
  }

  /// Unpacks Debian packages, and makes the modules available below both `lib` and `usr/lib`.
  static func unpack(_ files: [URL], into root: URL) throws {
    for file in files { try Command.output(["dpkg", "-x", file.path, root.path]) }
    let (old, new) = (root.appending(path: "lib"), root.appending(path: "usr/lib"))
    if !old.exists {
      try FileManager.default.createSymbolicLink(atPath: old.path, withDestinationPath: "usr/lib")
    } else if !new.exists {
      try root.appending(path: "usr").makeDirectory()
      try FileManager.default.createSymbolicLink(atPath: new.path, withDestinationPath: "../lib")
    }
  }

  /// The version of Linux, or nil if the version has another format.
  var numbers: KernelVersion? { KernelVersion(release: version) }

  /// Returns the files of a module and of the modules that it needs, in the order to load them.
  ///
  /// Returns an empty array if the module is built in, or nil if this kernel lacks the module.
  func files(of module: String) throws -> [URL]? {
    let (status, output, _) = try Command.result([
      "modprobe", "--dirname", root.path, "--set-version", version, "--show-depends", module,
    ])
    guard status == 0 else { return nil }
    return output.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard words.count >= 2, words[0] == "insmod" else { return nil }
      return URL(filePath: String(words[1]))
    }
  }

  /// True if the kernel has iommufd and, as far as its configuration is present, the VFIO device files.
  var hasIOMMUFD: Bool {
    get throws {
      guard try files(of: "iommufd") != nil else { return false }
      let files = [modules.appending(path: "config"), root.appending(path: "boot/config-\(version)")]
      guard let file = files.first(where: \.exists) else { return true }
      let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
      return lines.contains("CONFIG_VFIO_DEVICE_CDEV=y")
    }
  }
}

/// An error after which the lab cannot continue.
struct LabError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// The archive does not have a package, or cannot be reached. The cases that need the package are skipped.
struct Unavailable: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
