// SPDX-License-Identifier: Apache-2.0

public import Linux

/// An error in the preparation of a thread's confinement.
public enum SandboxError: Error, Equatable, CustomStringConvertible {
  /// libseccomp failed.
  ///
  /// - Parameter code: The error number that libseccomp returned (errno.h), positive, or nil if it returned
  ///   none. The kernel need not have set it.
  case library(String, code: Int32?)
  /// A system call failed.
  case kernel(KernelError)
  /// The kernel lacks or refuses a layer that is required.
  case refused(Layer, KernelError)

  /// The operation and the cause.
  public var description: String {
    switch self {
    case .library(let operation, let code):
      "\(operation): \(code.map { "libseccomp: \(KernelError.reason($0))" } ?? "libseccomp failed")"
    case .kernel(let error): error.description
    case .refused(let layer, let error): "layer \(layer.rawValue): \(error)"
    }
  }
}
