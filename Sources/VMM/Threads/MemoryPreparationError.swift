// SPDX-License-Identifier: Apache-2.0

public import Linux
public import Seams
internal import Trace

/// The limit on pinned memory (RLIMIT_MEMLOCK) and its owner.
public struct PinningLimit: Equatable, Sendable, CustomStringConvertible {
  /// Bytes.
  public let bytes: UInt64
  /// True if the kernel counts the memory of all processes of the user (iommufd), false if it counts the memory of this
  /// process (type1).
  public let isPerUser: Bool

  /// Creates a limit.
  public init(bytes: UInt64, isPerUser: Bool) { (self.bytes, self.isPerUser) = (bytes, isPerUser) }

  /// The limit of the calling thread for an interface to the IOMMU, or nil if there is none.
  static func current(_ interface: IOMMUInterface?) throws(KernelError) -> PinningLimit? {
    try MemoryLockLimit.current.map { PinningLimit(bytes: $0, isPerUser: interface == .iommufd) }
  }

  /// The limit with its owner.
  public var description: String {
    "RLIMIT_MEMLOCK is \(bytes >> 10) KiB for \(isPerUser ? "all processes of this user together" : "this process")"
  }
}

/// An error in the preparation of guest RAM.
public enum MemoryPreparationError: Error, Equatable, CustomStringConvertible {
  /// Pages could not be populated.
  case populate(KernelError)
  /// Pages could not be pinned for devices. The limit is nil if there is none, or if the cause is another one.
  case pin(OperationError, PinningLimit? = nil)

  /// The operation and the cause.
  public var description: String {
    switch self {
    case .populate(let error): "guest RAM cannot be populated: \(error)"
    case .pin(let error, let limit): "guest RAM cannot be pinned: \(error)\(limit.map { ": \($0)" } ?? "")"
    }
  }

  /// Adds the limit if the kernel has refused to pin for lack of memory.
  func adding(_ limit: PinningLimit?) -> MemoryPreparationError {
    if case .pin(let error, nil) = self, error.errno == KernelError.noMemory {
      .pin(error, limit)
    } else {
      self
    }
  }

  /// The error for threads that wait for guest RAM.
  var operation: OperationError {
    switch self {
    case .populate(let error): OperationError(description, errno: error.errno)
    case .pin(let error, _): OperationError(description, errno: error.errno)
    }
  }
}
