// SPDX-License-Identifier: Apache-2.0

/// A kind of thread in a run. Each kind has a separate filter.
public enum ThreadKind: String, CaseIterable, Sendable {
  /// The first thread. It serves signals and the console, and ends the VM.
  case control
  /// The thread of a vCPU. It calls KVM_RUN and serves trapped accesses.
  case vcpu
  /// A thread that populates and pins guest RAM while the guest starts, and then exits. A run can have
  /// several.
  case pin
  /// The thread of a device. It resets the device for the guest and releases it at shutdown.
  case device
  /// The thread that writes the trace. It may block until a reader reads.
  case trace
  /// The thread of the control socket. It receives requests, and sends replies and events. Other threads perform the
  /// operations.
  case socket
  /// The thread that receives the messages of a process with a device (vfio-user).
  case reader
  /// The thread that opens devices which are added to ports, and returns devices that have left a port to the host.
  case hotplug
}

/// A system call that some kinds of threads may make, with the reason. A call that no rule allows kills the
/// process.
public struct Rule: Sendable {
  /// The arguments that a rule allows.
  public enum Condition: Sendable {
    /// Any arguments.
    case any
    /// One of several sets of arguments.
    case arguments([[Argument]])
    /// One of these requests of ioctl. The upper 32 bits of the request argument are ignored, as in the
    /// kernel.
    case requests([Request])
  }

  /// A comparison of one argument: the bits under a mask must have a value.
  public struct Argument: Sendable {
    /// The required value of the bits.
    public enum Value: Sendable {
      /// A constant.
      case number(UInt64)
      /// The ID of this process.
      case ownProcess
    }

    let index: UInt32
    let mask: UInt64
    let value: Value
    /// The comparison as text with the kernel's names, such as `prot without PROT_EXEC`.
    public let text: String

    /// Creates a comparison. The default mask ignores the upper 32 bits of the argument, as the kernel does
    /// for an int.
    init(_ index: UInt32, mask: UInt64 = 0xFFFF_FFFF, _ value: Value, _ text: String) {
      (self.index, self.mask, self.value, self.text) = (index, mask, value, text)
    }
  }

  /// An ioctl request.
  public struct Request: Sendable {
    /// The constant's name in the kernel's headers.
    public let name: String
    /// The constant's value.
    public let number: UInt
    /// The reason for the request.
    public let reason: String
    /// See ``Rule/isContingent``.
    public let isContingent: Bool
    /// The only descriptor for which the request is allowed, or nil for any.
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
  /// The allowed arguments.
  public let condition: Condition
  /// The kinds of threads that may make the call.
  public let threads: Set<ThreadKind>
  /// The reason for the call.
  public let reason: String
  /// True if the call depends on an event that a test cannot force: the heap grows, two threads contend for a
  /// lock, the process is stopped and continued, or an operation fails. A run may then never make the call.
  public let isContingent: Bool

  /// Creates a rule.
  ///
  /// - Parameters:
  ///   - call: The name of the system call.
  ///   - threads: The kinds of threads that may make the call.
  ///   - reason: The reason for the call.
  ///   - condition: The permitted arguments.
  ///   - isContingent: True for a call that a run may never make.
  public init(
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
