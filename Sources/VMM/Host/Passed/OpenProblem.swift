// SPDX-License-Identifier: Apache-2.0

public import Linux

/// A reason why a program cannot be executed with the files of a VM.
public enum OpenProblem: Error, Equatable, CustomStringConvertible {
  /// The host has no user with the name.
  case noUser(String)
  /// The process cannot change to the user.
  case user(String, KernelError)
  /// A limit cannot be set.
  case limit(KernelError)
  /// The files cannot be passed.
  case passing(KernelError)
  /// The program cannot be executed.
  case program(String, KernelError)
  /// A device that this process has bound to vfio-pci cannot be unbound after a failure.
  case left(String, cause: String)

  /// The subject, the operation and the cause.
  public var description: String {
    switch self {
    case .noUser(let name): "user \(name): not in /etc/passwd"
    case .user(let name, let error): "user \(name): \(error)"
    case .limit(let error), .passing(let error): error.description
    case .program(let name, let error): "command \(name): \(error)"
    case .left(let address, let cause): "device \(address): stays bound to vfio-pci: \(cause)"
    }
  }
}
