// SPDX-License-Identifier: Apache-2.0

public import Linux

/// Why the confinement of a thread could not be prepared.
public enum SandboxError: Error, Equatable, CustomStringConvertible {
  /// libseccomp failed.
  ///
  /// - Parameter code: The error number that it returned (errno.h), positive; nil if it returned none. It need not be
  ///   the kernel's.
  case library(String, code: Int32?)
  /// A system call failed.
  case kernel(KernelError)

  /// The operation and the cause.
  public var description: String {
    switch self {
    case .library(let operation, let code):
      "\(operation): \(code.map { "libseccomp: \(KernelError.reason($0))" } ?? "libseccomp failed")"
    case .kernel(let error): error.description
    }
  }
}
