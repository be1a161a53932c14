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
  /// Writes the trace, which may wait for a reader.
  case trace
}

/// A system call that a kind of thread may make, and why. What no rule allows kills the process.
public struct Rule: Sendable {
  /// Which arguments are allowed.
  public enum Condition: Sendable {
    /// Any.
    case any
    /// One of several sets of arguments.
    case arguments([[Argument]])
    /// ioctl with these requests, by name and number; the upper half of the argument is ignored, as
    /// the kernel does.
    case requests([Request])
  }

  /// A comparison of one argument: the bits of a mask have a value.
  public struct Argument: Sendable {
    /// The value of the bits.
    public enum Value: Sendable {
      /// A constant.
      case number(UInt64)
      /// The ID of this process.
      case ownProcess
    }

    let index: UInt32
    let mask: UInt64
    let value: Value
    /// The comparison in the kernel's names: `prot without PROT_EXEC`.
    public let text: String

    /// The upper half of an int is ignored, as the kernel does.
    init(_ index: UInt32, mask: UInt64 = 0xFFFF_FFFF, _ value: Value, _ text: String) {
      (self.index, self.mask, self.value, self.text) = (index, mask, value, text)
    }
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
    /// The only descriptor that it is for, or nil.
    public let descriptor: UInt64?

    init(
      _ name: String, _ number: UInt, _ reason: String, on descriptor: UInt64? = nil,
      isContingent: Bool = false
    ) {
      self.name = name
      self.descriptor = descriptor
      self.number = number
      self.reason = reason
      self.isContingent = isContingent
    }

    /// The comparisons of the call's arguments.
    var arguments: [Argument] {
      let request = Argument(1, .number(UInt64(number)), name)
      guard let descriptor else { return [request] }
      return [Argument(0, .number(descriptor), "fd \(descriptor)"), request]
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
