// SPDX-License-Identifier: Apache-2.0

/// The version of a Linux kernel.
public struct KernelVersion: Comparable, Sendable, CustomStringConvertible {
  /// The first number of the version.
  public let major: Int
  /// The second number of the version.
  public let minor: Int

  /// Creates a version.
  public init(_ major: Int, _ minor: Int) {
    self.major = major
    self.minor = minor
  }

  /// Parses a release as uname(2) returns it, such as `6.12.95-amd64`. Returns nil if it begins with no version.
  public init?(release: String) {
    let numbers = release.prefix { $0.isNumber || $0 == "." }.split(separator: ".")
    guard numbers.count >= 2, let major = Int(numbers[0]), let minor = Int(numbers[1]) else { return nil }
    self.init(major, minor)
  }

  /// The version of this host's kernel, or nil if its release begins with no version.
  public static var current: KernelVersion? {
    get throws(KernelError) { KernelVersion(release: try Sysfs.read("/proc/sys/kernel/osrelease")) }
  }

  /// The version as in `Linux 6.19`.
  public var description: String { "Linux \(major).\(minor)" }

  /// Compares the first numbers, then the second numbers.
  public static func < (first: KernelVersion, second: KernelVersion) -> Bool {
    (first.major, first.minor) < (second.major, second.minor)
  }
}
