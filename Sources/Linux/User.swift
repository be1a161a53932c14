// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A user of this host, from /etc/passwd and /etc/group. A static program has no other source of users.
public struct User: Equatable, Sendable {
  /// The name.
  public let name: String
  /// The user's ID.
  public let id: UInt32
  /// The ID of the user's first group.
  public let group: UInt32
  /// The IDs of all groups, the first group included.
  public let groups: [UInt32]

  /// The maximum size of a file, in bytes.
  private static let limit = 4 << 20

  /// Finds a user. Returns nil if the host has no user with that name.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - users: The path of the list of users.
  ///   - groups: The path of the list of groups.
  public init?(
    _ name: String, users: String = "/etc/passwd", groups: String = "/etc/group"
  ) throws(KernelError) {
    // NAME:PASSWORD:UID:GID:…
    guard let own = try Self.lines(users).first(where: { $0.count >= 4 && $0[0] == name }),
      let id = UInt32(own[2]), let group = UInt32(own[3])
    else { return nil }
    // NAME:PASSWORD:GID:MEMBER,…
    let others = try Self.lines(groups).filter { fields in
      fields.count >= 4 && fields[3].split(separator: ",").contains { $0 == name }
    }.compactMap { UInt32($0[2]) }
    (self.name, self.id, self.group) = (name, id, group)
    self.groups = [group] + others.filter { $0 != group }
  }

  private static func lines(_ path: String) throws(KernelError) -> [[Substring]] {
    let file = try OwnedDescriptor(opening: path, .read)
    return String(decoding: try file.read(limit, at: 0), as: UTF8.self).split(separator: "\n").map {
      $0.split(separator: ":", omittingEmptySubsequences: false)
    }
  }

  /// The effective user of this process.
  public static var currentID: UInt32 { cl_user_id() }

  /// The ID that the kernel shows for a user who has none in a user namespace (fs.overflowuid).
  public static var overflowID: UInt32 {
    // A kernel without the file has the default.
    do throws(KernelError) {
      return UInt32(try Sysfs.read("/proc/sys/kernel/overflowuid")) ?? 65534
    } catch { return 65534 }
  }

  /// Makes this process a process of the user, and empties the bounding set of capabilities. The saved user stays root until the next exec, so that
  /// ``restoreRoot()`` works. The exec replaces the saved user by the effective user (Linux security/commoncap.c).
  public func become() throws(KernelError) {
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe groups.withUnsafeBufferPointer { buffer in
      unsafe cl_set_groups(buffer.baseAddress, Int32(buffer.count))
    }
    try check(result, "setgroups")
    try check(cl_set_group(group), "setresgid")
    // The program may have no user namespace in which it can empty the set. Root without CAP_SETPCAP keeps the set.
    let emptied = cl_drop_bounding_set()
    if emptied != -KernelError.notPermitted { try check(emptied, "prctl PR_CAPBSET_DROP") }
    try check(cl_set_user(id), "setresuid")
  }

  /// Makes this process a process of root again, after ``become()``.
  public static func restoreRoot() throws(KernelError) {
    try check(cl_set_user(0), "setresuid")
    try check(cl_set_group(0), "setresgid")
  }
}

/// The program that this process executes next.
public enum NextProgram {
  /// Executes a program, which it finds on the PATH. Returns only if that fails.
  ///
  /// - Parameter arguments: The name and the arguments.
  public static func execute(_ arguments: [String]) -> KernelError {
    // SAFETY: the strings live until they are freed, after the call that reads them. A nil ends the array.
    var strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe strings.forEach { unsafe free($0) } }
    let result = unsafe strings.withUnsafeMutableBufferPointer { unsafe cl_execute($0.baseAddress) }
    return KernelError("execve", .init(result: Int64(result)))
  }
}
