// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// A layer of a run's confinement.
public enum Layer: String, CaseIterable, Sendable {
  case capabilities
  case noNewPrivileges = "no_new_privs"
  case seccomp
  case guestMemory = "core dumps"

  /// The layer's effect.
  public var text: String {
    switch self {
    case .capabilities: "none, except CAP_IPC_LOCK on threads that pin guest RAM"
    case .noNewPrivileges: "execve() cannot add privileges to a thread (PR_SET_NO_NEW_PRIVS)"
    case .seccomp: "a system call outside the table kills the process, as do int 0x80 and x32 calls"
    case .guestMemory: "guest RAM is excluded (MADV_DONTDUMP)"
    }
  }

  /// Returns the active layers of a run.
  ///
  /// - Parameter isSandboxed: False for a run without the sandbox.
  public static func active(isSandboxed: Bool) -> [Layer] { isSandboxed ? allCases : [.guestMemory] }
}

/// The confinement of a kind of thread. Each thread of that kind enters it.
public struct ThreadSandbox: Sendable {
  private let filter: Filter

  /// Creates the confinement and compiles its filter from the rules for the kind of thread.
  public init(_ kind: ThreadKind, rules: [Rule]) throws(SandboxError) {
    filter = try Filter(kind, rules: rules)
  }

  /// Confines the calling thread: drops its capabilities, sets no_new_privs and loads its filter. The thread
  /// cannot undo this.
  public func enter() throws(KernelError) {
    try Self.dropCapabilities(of: filter.kind)
    try Self.forbidNewPrivileges()
    try filter.load()
  }

  /// Prepares the process. The process must have a single thread.
  public static func prepare() throws(KernelError) {
    try check(cl_settle_allocator(), "mallopt M_ARENA_MAX")
    let result = cl_drop_bounding_set()
    if result != -KernelError.notPermitted { try check(result, "prctl PR_CAPBSET_DROP") }
  }

  /// Drops the capabilities of the calling thread. A thread that pins guest RAM keeps CAP_IPC_LOCK, because
  /// VFIO otherwise charges the pages to RLIMIT_MEMLOCK. VFIO does not charge the BARs that vCPU threads map.
  static func dropCapabilities(of kind: ThreadKind) throws(KernelError) {
    try check(cl_drop_capabilities(kind == .pin ? 1 << UInt64(CAP_IPC_LOCK) : 0), "capset")
  }

  static func forbidNewPrivileges() throws(KernelError) {
    try check(cl_forbid_privileges(), "prctl PR_SET_NO_NEW_PRIVS")
  }
}
