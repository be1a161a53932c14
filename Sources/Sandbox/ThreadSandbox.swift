// SPDX-License-Identifier: Apache-2.0

public import Linux

/// The confinement of a kind of thread by seccomp. Each thread of that kind enters it.
public struct ThreadSandbox: Sendable {
  private let filter: Filter

  /// Creates the confinement and compiles its filter from the rules for the kind of thread.
  public init(_ kind: ThreadKind, rules: [Rule]) throws(SandboxError) {
    filter = try Filter(kind, rules: rules)
  }

  /// Confines the calling thread: sets no_new_privs and loads its filter. The thread cannot undo this.
  public func enter() throws(KernelError) {
    try ProcessSandbox.forbidNewPrivileges()
    try filter.load()
  }
}
