// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Seams

/// A failed operation of the kernel, and its cause.
public struct KernelError: Error, Equatable, CustomStringConvertible {
  /// The operation in the kernel's terms: `KVM_CREATE_VM`, `open /dev/kvm`.
  public let operation: String
  /// The cause.
  public let cause: Cause

  /// The cause of a failed operation.
  public enum Cause: Equatable, Sendable {
    /// The error number that the kernel returned (errno.h), positive.
    case errno(Int32)
    /// The kernel transferred fewer bytes than requested.
    case shortTransfer
    /// The operation does not support this kind of file.
    case wrongFile
    /// A number or a size is above a limit of Sluice.
    case limit
    /// The kernel or the C library rejected the call without an error number.
    case refused
    /// Mapped memory has no page now: an access raised SIGBUS.
    case noMemory
  }

  /// Creates an error from an operation and an error number.
  public init(_ operation: String, errno: Int32) { self.init(operation, .errno(errno)) }

  /// Creates an error from an operation and a cause.
  public init(_ operation: String, _ cause: Cause) {
    self.operation = operation
    self.cause = cause
  }

  /// The error number that the kernel returned (errno.h), positive, or nil if it returned none.
  public var errno: Int32? { if case .errno(let number) = cause { number } else { nil } }

  /// The operation and the cause.
  public var description: String {
    switch cause {
    case .errno(let number): "\(operation): \(Self.reason(number))"
    case .shortTransfer: "\(operation): the kernel transferred fewer bytes than requested"
    case .wrongFile: "\(operation): unsupported kind of file"
    case .limit: "\(operation): above a limit of Sluice"
    case .refused: "\(operation): rejected without an error number"
    case .noMemory: "\(operation): the memory is disabled (SIGBUS)"
    }
  }

  /// True if the kernel denied permission: EACCES or EPERM.
  public var isPermission: Bool { errno == Self.accessDenied || errno == Self.notPermitted }

  /// Returns the C library's text for an error number.
  public static func reason(_ errno: Int32) -> String {
    // SAFETY: strerror returns a NUL-terminated string, which is copied at once.
    guard let text = unsafe strerror(errno) else { return "error \(errno)" }
    return unsafe String(cString: text)
  }
}

/// Converts a negative result of the C layer into a typed error.
///
/// - Parameters:
///   - result: The result of a call. A negative result is `-errno` or a value of `cl_cause`.
///   - operation: The operation that the error names; evaluated only on failure.
@inlinable
@discardableResult
public func check<Result: SignedInteger & FixedWidthInteger>(
  _ result: Result, _ operation: @autoclosure () -> String
) throws(KernelError) -> Result {
  guard result >= 0 else { throw KernelError(operation(), .init(result: Int64(result))) }
  return result
}

extension KernelError.Cause {
  /// Creates a cause from a negative result of the C layer: `-errno`, or a value of `cl_cause`.
  @usableFromInline
  init(result: Int64) {
    self =
      switch result {
      case Int64(CL_SHORT.rawValue): .shortTransfer
      case Int64(CL_KIND.rawValue): .wrongFile
      case Int64(CL_LIMIT.rawValue): .limit
      case Int64(CL_REFUSED.rawValue): .refused
      case Int64(CL_NO_MEMORY.rawValue): .noMemory
      default: .errno(Int32(truncatingIfNeeded: -result))
      }
  }
}

extension OperationError {
  /// Creates an error from an error of the kernel.
  public init(_ error: KernelError) { self.init(error.description, errno: error.errno) }
}

/// Error numbers that Sluice distinguishes (errno.h).
extension KernelError {
  /// No such file, device or address.
  public static let noEntry: Int32 = ENOENT
  /// The kernel denied permission.
  public static let accessDenied: Int32 = EACCES
  /// The operation is not permitted.
  public static let notPermitted: Int32 = EPERM
  /// The device or group is in use.
  public static let busy: Int32 = EBUSY
  /// The memory of a mapping no longer exists.
  public static let fault: Int32 = EFAULT
  /// A signal interrupted the call.
  public static let interrupted: Int32 = EINTR
  /// Nothing is available now.
  public static let again: Int32 = EAGAIN
  /// The timeout has expired.
  public static let timedOut: Int32 = ETIMEDOUT
  /// There is not enough memory, or the limit on locked memory is reached.
  public static let noMemory: Int32 = ENOMEM
  /// The process has reached RLIMIT_NOFILE.
  public static let tooManyFiles: Int32 = EMFILE
  /// The kernel does not accept an argument.
  public static let invalid: Int32 = EINVAL
  /// No such device.
  public static let noDevice: Int32 = ENODEV
  /// The address of a socket exists.
  public static let addressInUse: Int32 = EADDRINUSE
  /// No process listens on a socket.
  public static let connectionRefused: Int32 = ECONNREFUSED
  /// The device does not respond.
  public static let io: Int32 = EIO
}
