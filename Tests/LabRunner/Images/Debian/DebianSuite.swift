// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A suite of Debian's archive, such as `trixie` or `trixie-backports`.
struct DebianSuite: Hashable, Sendable {
  let name: String

  init(_ name: String) { self.name = name }

  /// The release to which the suite adds packages, or the suite itself.
  var release: DebianSuite {
    DebianSuite(name.hasSuffix("-backports") ? String(name.dropLast("-backports".count)) : name)
  }

  /// The suite with newer packages for this release.
  var backports: DebianSuite { DebianSuite("\(release.name)-backports") }

  /// The suites whose packages fit together: the release, and this suite.
  var withRelease: [DebianSuite] { release == self ? [self] : [release, self] }

  /// The release of this machine.
  static var machine: DebianSuite {
    get throws {
      let text = try String(contentsOf: URL(filePath: "/etc/os-release"), encoding: .utf8)
      guard let name = codename(inRelease: text) else {
        throw LabError("/etc/os-release: no VERSION_CODENAME; run the lab on Debian")
      }
      return DebianSuite(name)
    }
  }

  /// Returns the field `VERSION_CODENAME` of os-release, or nil.
  static func codename(inRelease text: String) -> String? {
    let field = "VERSION_CODENAME="
    let line = text.split(separator: "\n").first { $0.hasPrefix(field) }
    return line.map { $0.dropFirst(field.count).filter { $0 != "\"" } }
  }
}
