// SPDX-License-Identifier: Apache-2.0

public import Boot
public import GuestMemory
public import KVM
public import Linux
public import Passthrough
public import Sandbox
public import Seams
public import VFIO

/// An error that prevents the start of a VM or ends it.
public enum RunError: Error, Equatable, CustomStringConvertible {
  /// KVM is not usable.
  case system(KVMError)
  /// The kernel, the initrd or the tables do not fit.
  case boot(BootError)
  /// Guest RAM cannot be created.
  case memory(GuestMemory.AllocationError)
  /// Guest RAM cannot be populated or pinned.
  case preparation(MemoryPreparationError)
  /// A device cannot be opened.
  case vfio(VFIOError)
  /// A device in another process cannot be opened.
  case server(ServerProblem)
  /// A device cannot be used.
  case function(FunctionError)
  /// A device cannot be returned to the host.
  case release(FunctionError)
  /// The control socket cannot be created.
  case control(ControlProblem)
  /// A descriptor that was passed cannot be used.
  case descriptor(DescriptorProblem)
  /// A thread cannot be confined.
  case sandbox(SandboxError)
  /// The host cannot meet a requirement of the VM.
  case host(HostProblem)
  /// The thread of a vCPU cannot be prepared.
  case vcpu(Int, KernelError)
  /// A vCPU cannot be bound to its processor.
  case placement(vcpu: Int, KernelError)
  /// The main thread failed.
  case mainThread(KernelError)
  /// The trace could not be written. `lost` records are missing.
  case trace(path: String, KernelError, lost: Int)
  /// The kernel refused another operation.
  case kernel(KernelError)
  /// Another operation on a device, an I/O address space or the machine failed.
  case operation(OperationError)

  /// The subject, the operation and the cause.
  public var description: String {
    switch self {
    case .system(let error): error.description
    case .boot(let error): error.description
    case .memory(let error): error.description
    case .preparation(let error): error.description
    case .vfio(let error): error.description
    case .server(let problem): problem.description
    case .function(let error): error.description
    case .release(let error): "release: \(error)"
    case .control(let problem): problem.description
    case .descriptor(let problem): problem.description
    case .sandbox(let error): error.description
    case .host(let problem): problem.description
    case .vcpu(let cpu, let error), .placement(let cpu, let error): "vCPU \(cpu): \(error)"
    case .mainThread(let error): "main thread: \(error)"
    case .trace(let path, let error, let lost): "trace \(path): \(error): \(lost) records are missing"
    case .kernel(let error): error.description
    case .operation(let error): error.description
    }
  }
}

/// Runs a step of the start and converts its error to a ``RunError``.
func step<Value: ~Copyable, Failure: Error>(
  _ wrap: (Failure) -> RunError, _ body: () throws(Failure) -> Value
) throws(RunError) -> Value {
  do throws(Failure) { return try body() } catch { throw wrap(error) }
}
