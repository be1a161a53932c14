// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Single 8-byte accesses to a mapping whose memory may disappear. The access then fails, and SIGBUS does not
/// end the process.
///
/// All other accesses to a device use its descriptor. These accesses use the mapping, because vfio-pci before
/// Linux 6.11 splits an 8-byte access into two 4-byte accesses. A device register can detect the difference.
public enum FaultTolerantAccess {
  /// Installs a SIGBUS handler for the whole process. A SIGBUS from other code still ends the process, with a
  /// status and a line on standard error.
  public static func install(failureStatus: Int32 = 1) throws(KernelError) {
    try check(cl_install_guard(failureStatus), "sigaction SIGBUS")
  }

  /// Reads 8 bytes, little-endian, in one access.
  ///
  /// - Parameter address: Host virtual address in a mapping; a multiple of 8.
  /// - Throws: ``KernelError/Cause/noMemory`` if the mapping has no memory now: the device's memory is disabled.
  public static func load(_ address: UInt64) throws(KernelError) -> UInt64 {
    var value: UInt64 = 0
    // SAFETY: the call fills in the number.
    try check(unsafe cl_guarded_load(address, &value), "read mapped memory")
    return value
  }

  /// Writes 8 bytes, little-endian, in one access.
  ///
  /// - Parameters:
  ///   - address: Host virtual address in a mapping; a multiple of 8.
  ///   - value: The value to write.
  /// - Throws: ``KernelError/Cause/noMemory`` if the mapping has no memory now: the device's memory is disabled.
  public static func store(_ address: UInt64, _ value: UInt64) throws(KernelError) {
    try check(cl_guarded_store(address, value), "write mapped memory")
  }
}
