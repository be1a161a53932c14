// SPDX-License-Identifier: Apache-2.0

public import Linux
public import Seams

/// An error in the preparation of guest RAM.
public enum MemoryPreparationError: Error, Equatable, CustomStringConvertible {
  /// Pages could not be populated.
  case populate(KernelError)
  /// Pages could not be pinned for devices.
  case pin(OperationError)

  /// The operation and the cause.
  public var description: String {
    switch self {
    case .populate(let error): "guest RAM cannot be populated: \(error)"
    case .pin(let error): "guest RAM cannot be pinned: \(error)"
    }
  }

  /// The error for threads that wait for guest RAM.
  var operation: OperationError {
    switch self {
    case .populate(let error): OperationError(description, errno: error.errno)
    case .pin(let error): OperationError(description, errno: error.errno)
    }
  }
}
