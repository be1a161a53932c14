// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// The layers that confine a whole process. The process enters them after it has opened everything, and
/// before it creates the threads of a VM.
public enum ProcessSandbox {
  /// Prepares the allocator for the filters. The process must have a single thread.
  public static func prepare() throws(KernelError) {
    try check(cl_settle_allocator(), "mallopt M_ARENA_MAX")
  }

  /// Enters the layers of a choice except seccomp, which each thread enters itself (``ThreadSandbox``). The process
  /// must have a single thread. It cannot leave the layers.
  ///
  /// - Returns: The state of every layer.
  /// - Throws: An error if the kernel lacks or refuses a required layer.
  public static func enter(_ choice: LayerChoice) throws(SandboxError) -> [LayerState] {
    var states: [LayerState] = []
    for layer in Layer.allCases {
      guard choice.contains(layer) else {
        states.append(LayerState(layer, obstacle: "left out"))
        continue
      }
      do throws(KernelError) { states.append(LayerState(layer, gap: try enter(layer))) } catch {
        if choice.required.contains(layer) { throw .refused(layer, error) }
        states.append(LayerState(layer, obstacle: error.description))
      }
    }
    return states
  }

  /// Enters one layer.
  ///
  /// - Returns: The part that the kernel lacks or refused, or nil.
  static func enter(_ layer: Layer) throws(KernelError) -> String? {
    switch layer {
    case .namespaces: try Namespaces.enter()
    case .capabilities: return try dropCapabilities()
    case .noNewPrivileges: try forbidNewPrivileges()
    case .landlock:
      let landlock = try Landlock.current()
      try landlock.restrict()
      return landlock.gap
    case .seccomp, .guestMemory: break
    }
    return nil
  }

  /// Empties the capability sets of the calling thread and of threads that it creates later.
  private static func dropCapabilities() throws(KernelError) -> String? {
    // A thread without CAP_SETPCAP keeps its bounding set.
    let result = cl_drop_bounding_set()
    if result != -KernelError.notPermitted { try check(result, "prctl PR_CAPBSET_DROP") }
    try check(cl_drop_capabilities(), "capset")
    return result == 0 ? nil : "the bounding set stays: this user may not change it"
  }

  /// Sets no_new_privs of the calling thread and of threads that it creates later.
  static func forbidNewPrivileges() throws(KernelError) {
    try check(cl_forbid_privileges(), "prctl PR_SET_NO_NEW_PRIVS")
  }
}
