// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Seams

/// What the kernel answered when it refused an operation.
public struct KernelError: Error, Equatable, CustomStringConvertible {
  /// What was asked, in the kernel's words: `KVM_CREATE_VM`, `open /dev/kvm`.
  public let operation: String
  /// The error number that the kernel returned (errno.h), positive.
  public let errno: Int32

  /// Creates an error from what was asked and an error number.
  public init(_ operation: String, errno: Int32) {
    self.operation = operation
    self.errno = errno
  }

  /// The operation and the reason.
  public var description: String { "\(operation): \(Self.reason(errno))" }

  /// True if the kernel refused for want of permission: EACCES or EPERM.
  public var isPermission: Bool { errno == Self.accessDenied || errno == Self.notPermitted }

  /// The C library's words for an error number.
  public static func reason(_ errno: Int32) -> String {
    // SAFETY: strerror returns a NUL-terminated string, which is copied at once.
    guard let text = unsafe strerror(errno) else { return "error \(errno)" }
    return unsafe String(cString: text)
  }
}

/// Turns the `-errno` convention of the C layer into a typed error.
///
/// - Parameter operation: What to name in the error; evaluated only on failure.
@inlinable
@discardableResult
public func check<Result: SignedInteger & FixedWidthInteger>(
  _ result: Result, _ operation: @autoclosure () -> String
) throws(KernelError) -> Result {
  guard result >= 0 else { throw KernelError(operation(), errno: Int32(truncatingIfNeeded: -result)) }
  return result
}

extension OperationError {
  /// Passes the kernel's answer on.
  public init(_ error: KernelError) { self.init(error.description, errno: error.errno) }
}

/// Error numbers that Sluice tells apart (errno.h).
extension KernelError {
  /// No such file, device or address.
  public static let noEntry: Int32 = ENOENT
  /// The kernel refused for want of permission.
  public static let accessDenied: Int32 = EACCES
  /// The operation is not permitted.
  public static let notPermitted: Int32 = EPERM
  /// The device or group is in use.
  public static let busy: Int32 = EBUSY
  /// A mapping that was there is not there any more.
  public static let fault: Int32 = EFAULT
  /// A signal came first.
  public static let interrupted: Int32 = EINTR
  /// Nothing there now.
  public static let again: Int32 = EAGAIN
  /// The time to wait is over.
  public static let timedOut: Int32 = ETIMEDOUT
  /// Not enough memory, or a limit on locked memory.
  public static let noMemory: Int32 = ENOMEM
  /// The process has as many descriptors as RLIMIT_NOFILE allows.
  public static let tooManyFiles: Int32 = EMFILE
  /// An argument that the kernel does not accept.
  public static let invalid: Int32 = EINVAL
  /// No such device.
  public static let noDevice: Int32 = ENODEV
  /// The device did not answer.
  public static let io: Int32 = EIO
}
