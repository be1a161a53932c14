// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The limit on open descriptors of this process (RLIMIT_NOFILE). Each vector that a guest uses takes one.
public enum DescriptorLimit {
  /// Number of descriptors.
  public static var current: Int64 {
    get throws(KernelError) { try check(cl_descriptor_limit(), "getrlimit RLIMIT_NOFILE") }
  }

  /// Raises the limit as far as the kernel lets an ordinary process do it: to the hard limit.
  public static func raise() throws(KernelError) {
    try check(cl_raise_descriptor_limit(), "setrlimit RLIMIT_NOFILE")
  }
}
