// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The limit on the memory that the calling thread may lock or pin (RLIMIT_MEMLOCK).
public enum MemoryLockLimit {
  /// Bytes, or nil if there is no limit. The limit does not apply to a thread with CAP_IPC_LOCK.
  public static var current: UInt64? {
    get throws(KernelError) {
      if try check(cl_has_capability(UInt32(CAP_IPC_LOCK)), "capget") == 1 { return nil }
      let bytes = try check(cl_memlock_limit(), "getrlimit RLIMIT_MEMLOCK")
      return bytes == .max ? nil : UInt64(bytes)
    }
  }

  /// Sets the soft and the hard limit, in bytes.
  public static func set(_ bytes: UInt64) throws(KernelError) {
    try check(cl_set_memlock_limit(bytes), "setrlimit RLIMIT_MEMLOCK")
  }

  /// Removes the limit. A thread without CAP_SYS_RESOURCE raises the soft limit to the hard limit.
  public static func raise() throws(KernelError) {
    try check(cl_raise_memlock_limit(), "setrlimit RLIMIT_MEMLOCK")
  }
}
