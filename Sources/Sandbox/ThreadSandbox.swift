// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// A layer of the confinement of a run.
public enum Layer: String, CaseIterable, Sendable {
  case capabilities
  case noNewPrivileges = "no_new_privs"
  case seccomp
  case guestMemory = "core dumps"

  /// Its effect.
  public var text: String {
    switch self {
    case .capabilities: "no thread has any, but CAP_IPC_LOCK while guest RAM is pinned"
    case .noNewPrivileges: "no exec gives a thread more privileges (PR_SET_NO_NEW_PRIVS)"
    case .seccomp: "a call that the table does not list ends the process, as do int 0x80 and x32 calls"
    case .guestMemory: "guest RAM is in none (MADV_DONTDUMP)"
    }
  }

  /// The layers of a run.
  ///
  /// - Parameter isSandboxed: False with `--sandbox off`.
  public static func active(isSandboxed: Bool) -> [Layer] { isSandboxed ? allCases : [.guestMemory] }
}

/// The confinement of a kind of thread, ready to be entered by such a thread.
public struct ThreadSandbox: Sendable {
  private let filter: Filter

  /// Compiles the thread's filter.
  public init(_ kind: ThreadKind) throws(SandboxError) { filter = try Filter(kind) }

  /// Confines the calling thread, for good: it gives up capabilities and new privileges, then loads its filter.
  public func enter() throws(KernelError) {
    try Self.dropCapabilities(of: filter.kind)
    try Self.forbidNewPrivileges()
    try filter.load()
  }

  /// Prepares the process, while it has one thread.
  public static func prepare() throws(KernelError) {
    try check(cl_settle_allocator(), "mallopt M_ARENA_MAX")
    let result = cl_drop_bounding_set()
    if result != -KernelError.notPermitted { try check(result, "prctl PR_CAPBSET_DROP") }
  }

  /// VFIO charges pinned pages to RLIMIT_MEMLOCK unless the thread that maps them has CAP_IPC_LOCK. It does not charge
  /// the BARs that vCPU threads map.
  static func dropCapabilities(of kind: ThreadKind) throws(KernelError) {
    try check(cl_drop_capabilities(kind == .pin ? 1 << UInt64(CAP_IPC_LOCK) : 0), "capset")
  }

  static func forbidNewPrivileges() throws(KernelError) {
    try check(cl_forbid_privileges(), "prctl PR_SET_NO_NEW_PRIVS")
  }
}
