// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import CSeccomp
internal import Linux

/// The compiled seccomp filter for a kind of thread. Each thread of that kind loads it.
struct Filter: Sendable {
  /// The kind of thread that loads the filter.
  let kind: ThreadKind
  /// BPF instructions, eight bytes each.
  private let program: [UInt8]

  /// Creates a filter from the rules for a kind of thread (libseccomp). A call that no rule allows kills the
  /// process.
  init(_ kind: ThreadKind, rules: [Rule]) throws(SandboxError) {
    self.kind = kind
    // SAFETY: the context is released on every return, and is not used after that.
    guard let context = unsafe seccomp_init(SCMP_ACT_KILL_PROCESS) else {
      throw .library("seccomp_init", code: nil)
    }
    defer { unsafe seccomp_release(context) }
    // A call by another ABI (int 0x80, x32) kills the process. The default, SCMP_ACT_KILL, kills only the
    // thread.
    try Self.check(
      unsafe seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "seccomp_attr_set")
    // The filter tests the calls in this order. A vCPU's thread calls ioctl at every exit of the guest.
    let frequent = unsafe seccomp_syscall_resolve_name("ioctl")
    try Self.check(unsafe seccomp_syscall_priority(context, frequent, .max), "seccomp_syscall_priority")
    for rule in rules where rule.threads.contains(kind) {
      // SAFETY: the name lives for the call.
      let number = unsafe seccomp_syscall_resolve_name(rule.call)
      guard number >= 0 else {
        throw .library("seccomp_syscall_resolve_name \(rule.call)", code: nil)
      }
      for var comparison in rule.comparisons {
        // SAFETY: the array lives for the call, which reads `count` of its elements.
        let result = unsafe comparison.withUnsafeMutableBufferPointer { buffer in
          unsafe seccomp_rule_add_array(
            context, SCMP_ACT_ALLOW, number, UInt32(buffer.count), buffer.baseAddress)
        }
        try Self.check(result, "seccomp_rule_add_array \(rule.call)")
      }
    }
    let file = try Self.file()
    try Self.check(unsafe seccomp_export_bpf(context, file.number), "seccomp_export_bpf")
    do throws(KernelError) {
      program = try file.read(Int(try file.size(of: "seccomp program")), at: 0)
    } catch { throw .kernel(error) }
  }

  /// Creates a file in memory for the BPF program.
  private static func file() throws(SandboxError) -> OwnedDescriptor {
    do throws(KernelError) {
      // SAFETY: the name is a literal that lives for the call.
      return OwnedDescriptor(owning: try Linux.check(unsafe cl_memfd("seccomp", 0), "memfd_create"))
    } catch { throw .kernel(error) }
  }

  /// Throws an error for a negative result of libseccomp.
  private static func check(_ result: Int32, _ operation: String) throws(SandboxError) {
    guard result >= 0 else { throw .library(operation, code: -result) }
  }

  /// Loads the filter into the calling thread, which must have no_new_privs. The thread cannot remove it.
  func load() throws(KernelError) {
    // SAFETY: the array lives for the call, which copies `count` instructions of eight bytes.
    let result = unsafe program.withUnsafeBytes { buffer in
      unsafe cl_seccomp_load(buffer.baseAddress, UInt16(buffer.count / 8))
    }
    try Linux.check(result, "seccomp(SECCOMP_SET_MODE_FILTER) for a \(kind.rawValue) thread")
  }
}

extension Rule {
  /// The argument comparisons for libseccomp. A call is allowed if it matches one of the sets.
  fileprivate var comparisons: [[scmp_arg_cmp]] {
    switch condition {
    case .any: [[]]
    case .arguments(let alternatives): alternatives.map { $0.map(\.compiled) }
    case .requests(let requests): requests.map { $0.arguments.map(\.compiled) }
    }
  }
}

extension Rule.Argument {
  fileprivate var compiled: scmp_arg_cmp {
    let value =
      switch value {
      case .number(let number): number
      case .ownProcess: UInt64(cl_process_id())
      }
    return scmp_arg_cmp(arg: index, op: SCMP_CMP_MASKED_EQ, datum_a: mask, datum_b: value)
  }
}
