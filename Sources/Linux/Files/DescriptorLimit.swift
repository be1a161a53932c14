// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The limit on open descriptors of this process (RLIMIT_NOFILE). Each vector that a guest uses takes one
/// descriptor.
public enum DescriptorLimit {
  /// The number of descriptors.
  public static var current: Int64 {
    get throws(KernelError) { try check(cl_descriptor_limit(), "getrlimit RLIMIT_NOFILE") }
  }

  /// Raises the limit to the hard limit, which an ordinary process is permitted to do.
  public static func raise() throws(KernelError) {
    try check(cl_raise_descriptor_limit(), "setrlimit RLIMIT_NOFILE")
  }
}
