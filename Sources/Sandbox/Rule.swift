// SPDX-License-Identifier: Apache-2.0

/// The kinds of threads of a run; each has a filter of its own.
public enum ThreadKind: String, CaseIterable, Sendable {
  /// The first thread: signals, console, the end of the VM.
  case control
  /// A vCPU: KVM_RUN and the accesses that it traps.
  case vcpu
  /// Populates and pins guest RAM while the guest starts, and ends; there can be several.
  case pin
  /// Resets a device for the guest, and gives it back at the end; one for each.
  case device
}

/// A system call that a kind of thread may make, and why. What no rule allows kills the process.
public struct Rule: Sendable {
  /// Which arguments are allowed.
  public enum Condition: Sendable {
    /// Any.
    case any
    /// ioctl with these requests, by name and number; the upper half of the argument is ignored, as
    /// the kernel does.
    case requests([Request])
  }

  /// An ioctl request.
  public struct Request: Sendable {
    /// The constant's name in the kernel's headers.
    public let name: String
    /// Its value.
    public let number: UInt
    /// Why it is needed.
    public let reason: String
    /// See ``Rule/isContingent``.
    public let isContingent: Bool

    init(_ name: String, _ number: UInt, _ reason: String, isContingent: Bool = false) {
      self.name = name
      self.number = number
      self.reason = reason
      self.isContingent = isContingent
    }
  }

  /// The system call's name.
  public let call: String
  /// Which arguments.
  public let condition: Condition
  /// Who needs it.
  public let threads: Set<ThreadKind>
  /// What for.
  public let reason: String
  /// Whether it depends on what no run can be made to do at will: the heap has to grow, two threads have
  /// to meet at a lock, the process has to be stopped and continued, something has to fail.
  public let isContingent: Bool

  init(
    _ call: String, _ threads: Set<ThreadKind>, _ reason: String, _ condition: Condition = .any,
    isContingent: Bool = false
  ) {
    self.call = call
    self.threads = threads
    self.reason = reason
    self.condition = condition
    self.isContingent = isContingent
  }
}
