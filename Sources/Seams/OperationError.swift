// SPDX-License-Identifier: Apache-2.0

/// The failure of an operation on a device, an I/O address space or a virtual machine.
public struct OperationError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The operation and its cause.
  public let description: String
  /// The positive error number that the kernel or the device's server returned (errno.h), or nil for a limit
  /// that was found without a call.
  public let errno: Int32?

  /// Creates an error.
  public init(_ description: String, errno: Int32? = nil) {
    self.description = description
    self.errno = errno
  }
}
