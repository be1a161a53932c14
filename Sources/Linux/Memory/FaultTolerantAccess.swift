// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Single accesses of 8 bytes to a mapping whose memory may be taken away meanwhile: then they fail, and
/// SIGBUS does not end the process.
///
/// All other accesses to a device go through its descriptor. These are here because vfio-pci before
/// Linux 6.11 makes two accesses of 4 bytes out of one of 8, and a register can tell.
public enum FaultTolerantAccess {
  /// Takes SIGBUS for the whole process. If it does not come from here it still ends the process, with
  /// a status and a line on standard error.
  public static func install(failureStatus: Int32 = 1) throws(KernelError) {
    try check(cl_install_guard(failureStatus), "sigaction SIGBUS")
  }

  /// Reads 8 bytes, little-endian, at once.
  ///
  /// - Parameter address: Host virtual address in a mapping; a multiple of 8.
  /// - Throws: EFAULT where there is nothing behind the mapping now: a device's memory is disabled.
  public static func load(_ address: UInt64) throws(KernelError) -> UInt64 {
    var value: UInt64 = 0
    // SAFETY: the call fills in the number.
    try check(unsafe cl_guarded_load(address, &value), "read mapped memory")
    return value
  }

  /// Writes 8 bytes, little-endian, at once.
  ///
  /// - Parameter address: Host virtual address in a mapping; a multiple of 8.
  /// - Throws: EFAULT where there is nothing behind the mapping now: a device's memory is disabled.
  public static func store(_ address: UInt64, _ value: UInt64) throws(KernelError) {
    try check(cl_guarded_store(address, value), "write mapped memory")
  }
}
