// SPDX-License-Identifier: Apache-2.0

public import Boot
public import KVM
public import Linux
public import Passthrough
public import Sandbox
public import Seams
public import VFIO

/// Why a VM could not be started.
public enum RunError: Error, CustomStringConvertible {
  /// KVM is not usable.
  case system(SystemError)
  /// The kernel, the initrd or the tables do not fit.
  case boot(BootError)
  /// A device cannot be had.
  case vfio(VFIOError)
  /// A device cannot be used.
  case function(FunctionError)
  /// The kernel refused something.
  case kernel(KernelError)
  /// An operation on a device or an I/O address space failed.
  case operation(OperationError)
  /// A thread cannot be confined.
  case sandbox(SandboxError)
  /// The host cannot carry such a VM; says what to do.
  case host(String)

  /// The cause and the remedy, for a person.
  public var description: String {
    switch self {
    case .system(let error): error.description
    case .boot(let error): error.description
    case .vfio(let error): error.description
    case .function(let error): error.description
    case .kernel(let error): error.description
    case .operation(let error): error.description
    case .sandbox(let error): error.description
    case .host(let text): text
    }
  }
}

/// Runs a step of the start, with its error as a ``RunError``.
func step<Value: ~Copyable, Failure: Error>(
  _ wrap: (Failure) -> RunError, _ body: () throws(Failure) -> Value
) throws(RunError) -> Value {
  do throws(Failure) { return try body() } catch { throw wrap(error) }
}
