// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One of Debian's kernels that the lab can boot, in L1 or in a guest.
enum KernelName: String, CaseIterable, Codable, Sendable {
  case oldFull = "6.1"
  case oldCloud = "6.1-cloud"
  case newFull = "6.12"
  case newCloud = "6.12-cloud"

  /// Debian's package that depends on the newest kernel of this kind.
  var metaPackage: String {
    switch self {
    case .oldFull, .newFull: "linux-image-amd64"
    case .oldCloud, .newCloud: "linux-image-cloud-amd64"
    }
  }

  var isBackport: Bool { self == .newFull || self == .newCloud }
}

/// A kernel package that is unpacked and not installed.
struct KernelPackage: Sendable {
  /// The directory of the unpacked package, with `boot` and `lib/modules`.
  let root: URL
  /// The version in the format of `uname -r`.
  let version: String

  var image: URL { root.appending(path: "boot/vmlinuz-\(version)") }

  /// Finds the only kernel in an unpacked package.
  init(root: URL) throws {
    self.root = root
    let names = try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "lib/modules").path)
    guard names.count == 1, let version = names.first else {
      throw LabError("\(root.path): expected one kernel below lib/modules, found \(names)")
    }
    self.version = version
  }

  /// Returns the first two numbers of a version in the format of `uname -r`, or nil if it has another format.
  static func numbers(ofVersion version: String) -> (Int, Int)? {
    guard let match = version.prefixMatch(of: #/([0-9]+)\.([0-9]+)/#), let major = Int(match.1),
      let minor = Int(match.2)
    else { return nil }
    return (major, minor)
  }

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
}

/// An error after which the lab cannot continue.
struct LabError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
