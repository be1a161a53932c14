// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One of Debian's kernels that the lab can boot, in L1 or in a guest.
enum KernelName: String, CaseIterable, Codable, Sendable {
  case oldFull = "6.1"
  case oldCloud = "6.1-cloud"
  case newFull = "6.12"
  case newCloud = "6.12-cloud"

  /// Debian's package that depends on the newest of the kind.
  var metaPackage: String {
    switch self {
    case .oldFull, .newFull: "linux-image-amd64"
    case .oldCloud, .newCloud: "linux-image-cloud-amd64"
    }
  }

  var isBackport: Bool { self == .newFull || self == .newCloud }
}

/// A kernel package unpacked, not installed.
struct KernelPackage: Sendable {
  /// What the package was unpacked into; `boot` and `lib/modules` are below.
  let root: URL
  /// As `uname -r` says it.
  let version: String

  var image: URL { root.appending(path: "boot/vmlinuz-\(version)") }

  /// Finds the one kernel in an unpacked package.
  init(root: URL) throws {
    self.root = root
    let names = try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "lib/modules").path)
    guard names.count == 1, let version = names.first else {
      throw LabError("\(root.path): expected one kernel below lib/modules, found \(names)")
    }
    self.version = version
  }

  /// The files of a module and of those it needs, in the order to load them; empty when it is built in.
  ///
  /// Nil when this kernel has no such module.
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
}

/// Something that the lab cannot go on without.
struct LabError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
