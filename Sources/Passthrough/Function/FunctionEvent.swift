// SPDX-License-Identifier: Apache-2.0

public import Gate
public import Seams
public import Trace

/// An event of an assigned function, reported after it has happened. Its associated values use the trace's
/// types.
public enum FunctionEvent: Sendable {
  /// The location of one window or of several adjoining windows.
  public struct WindowSpan: Sendable {
    /// The BAR.
    public let bar: Int
    /// The number of the first window within the function.
    public let window: Int
    /// The number of windows.
    public var windows = 1
    /// The GPA of the first byte.
    public let address: UInt64
    /// The size in bytes.
    public let size: UInt64
  }

  /// A window has changed its state, after its memory slot was added or removed.
  case gate(WindowSpan, from: Gate.State, to: Gate.State, TraceEvent.WindowReason)
  /// The device's command register has been written.
  case command(old: UInt16, new: UInt16)
  /// Windows were mapped for other devices at their GPA, or unmapped.
  ///
  /// - Parameter space: The I/O address space.
  case peer(TraceEvent.MapOperation, WindowSpan, space: Int)
  /// Another kind of interrupt is on in the host.
  case interrupts(TraceEvent.InterruptMode, count: Int)
  /// A vector has changed.
  case vector(Int, TraceEvent.VectorOperation)
  /// The function has been reset, alone or with its bus.
  case reset(TraceEvent.ResetReason, TraceEvent.ResetMethod)
  /// The guest has lost access to the device.
  case lost(TraceEvent.DeviceState)
  /// The life of the function behind a port has reached a state.
  case slot(TraceEvent.SlotState)
  /// A failure that does not end the VM.
  case warning(FunctionWarning)
}

/// Receives each event of a function and its duration in microseconds, with the function's lock held.
public typealias FunctionObserver = @Sendable (FunctionEvent, Int64) -> Void

/// The presence of an assigned function in the guest.
public enum FunctionPresence: String, CaseIterable, Sendable {
  /// The guest can use it.
  case present
  /// It had an error, and the VM keeps it. The guest reads all-ones.
  case isolated
  /// It is being released to the host. The guest reads all-ones.
  case leaving
  /// It has been released to the host. The guest reads all-ones.
  case released
}

/// Counters of an assigned function over the life of a VM.
public struct FunctionStatistics: Sendable {
  /// The number of windows.
  public var windows = 0
  /// The number of windows that have been open.
  public var windowsOpened = 0
  /// The number of memory slots that were added. One slot may hold several windows.
  public var slotsAdded = 0
  /// The bytes of the windows that have been open.
  public var bytesMapped: UInt64 = 0
  /// The number of accesses to BARs that were trapped.
  public var trappedAccesses = 0
  /// The number of trapped accesses that the function did not answer.
  public var deniedAccesses = 0
  /// The number of times that an open window was closed or demoted.
  public var closes = 0
  /// The number of vectors.
  public var vectors = 0
  /// The number of vectors that the guest has used.
  public var vectorsUsed = 0
}

/// A failure that the VM survives, as text with a typed reason for the user interface.
public struct FunctionWarning: Equatable, Sendable, CustomStringConvertible, ExpressibleByStringInterpolation
{
  /// The reasons that a user can remedy.
  public enum Reason: Equatable, Sendable {
    /// The process has no free descriptor.
    case descriptorLimit
    /// A bus reset would also reset these devices, which do not belong to the VM.
    case foreignDevices([String])
    /// The process of the device has ended or has broken the protocol.
    case lostServer
  }

  /// The operation, its object, and the cause.
  public let description: String
  /// The reason, or nil if a user can do nothing.
  public let reason: Reason?

  /// Creates a warning.
  public init(_ description: String, _ reason: Reason? = nil) {
    (self.description, self.reason) = (description, reason)
  }

  /// Creates a warning without a reason.
  public init(stringLiteral value: String) { self.init(value) }
}

/// A failure that ends the VM: the state of a device's mappings or interrupts is no longer known.
public struct FunctionError: Error, Equatable, CustomStringConvertible {
  /// The device's address on the host.
  public let device: String
  /// The operation, its object, and the kernel's error.
  public let cause: OperationError

  /// True if the device was released and its reset had failed.
  public let isReleasedWithoutReset: Bool

  /// Creates an error from a device and a cause.
  public init(device: String, cause: OperationError, isReleasedWithoutReset: Bool = false) {
    (self.device, self.cause, self.isReleasedWithoutReset) = (device, cause, isReleasedWithoutReset)
  }

  /// The device and the cause as text.
  public var description: String { "device \(device): \(cause)" }
}
