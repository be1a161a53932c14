// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux

/// The rights that Landlock takes from a process. No rule allows one again, so that the process
/// can open nothing.
struct Landlock: Equatable {
  /// The kernel's version of the interface.
  let abi: Int32

  /// The last version that this program knows.
  static let last: Int32 = 11

  /// The rights to files. Each row has the first version, and the first right that the next row adds
  /// (include/uapi/linux/landlock.h: TRUNCATE, IOCTL_DEV, RESOLVE_UNIX).
  private static let fileRights: [(abi: Int32, end: UInt64)] = [(1, 13), (2, 14), (3, 15), (5, 16), (9, 17)]
  /// The rights to the network: TCP, then UDP.
  private static let networkRights: [(abi: Int32, end: UInt64)] = [(4, 2), (10, 4)]
  /// The scopes: abstract sockets and signals.
  private static let scopeRights: [(abi: Int32, end: UInt64)] = [(6, 2)]

  private func mask(_ rows: [(abi: Int32, end: UInt64)]) -> UInt64 {
    rows.last { $0.abi <= abi }.map { 1 << $0.end - 1 } ?? 0
  }

  /// The rights to files (handled_access_fs).
  var files: UInt64 { mask(Self.fileRights) }
  /// The rights to the network (handled_access_net).
  var network: UInt64 { mask(Self.networkRights) }
  /// The scopes (scoped).
  var scopes: UInt64 { mask(Self.scopeRights) }
  /// The size of the kernel's struct, in bytes.
  var size: Int { abi < 4 ? 8 : abi < 6 ? 16 : 24 }

  /// The rights that the kernel's version lacks, or nil if it has all.
  var gap: String? {
    var missing: [String] = []
    if abi < 4 { missing.append("TCP") }
    if abi < 6 { missing.append("signals and abstract sockets") }
    if abi < 9 { missing.append("connect() to a socket's path") }
    if abi < 10 { missing.append("UDP") }
    return missing.isEmpty ? nil : "ABI \(abi) of the kernel does not restrict \(Self.list(missing))"
  }

  private static func list(_ words: [String]) -> String {
    words.count < 2
      ? words.joined() : words.dropLast().joined(separator: ", ") + " and " + (words.last ?? "")
  }

  /// The kernel's version.
  static func current() throws(KernelError) -> Landlock {
    Landlock(abi: try check(cl_landlock_abi(), "landlock_create_ruleset"))
  }

  /// Takes the rights from the calling thread and from the threads that it creates later.
  func restrict() throws(KernelError) {
    let rights = cl_landlock_rights(files: files, network: network, scopes: scopes)
    try check(cl_landlock_restrict(rights, size), "landlock_restrict_self")
  }
}
