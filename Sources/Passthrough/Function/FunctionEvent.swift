// SPDX-License-Identifier: Apache-2.0

public import Gate
public import Seams
public import Trace

/// An event of an assigned function, reported after it has happened. Its words are the trace's.
public enum FunctionEvent: Sendable {
  /// Where a window is, or several that follow each other.
  public struct WindowSpan: Sendable {
    /// The BAR.
    public let bar: Int
    /// The window's number within the function; the first one's.
    public let window: Int
    /// How many windows it is.
    public var windows = 1
    /// Guest-physical address of its first byte.
    public let address: UInt64
    /// Bytes.
    public let size: UInt64
  }

  /// A window has changed its state, after its slot was added or removed.
  case gate(WindowSpan, from: Gate.State, to: Gate.State, TraceEvent.WindowReason)
  /// The device's command register has been written.
  case command(old: UInt16, new: UInt16)
  /// Windows became, or are no more, reachable for other devices at their guest-physical address.
  ///
  /// - Parameter space: The I/O address space.
  case peer(TraceEvent.MapOperation, WindowSpan, space: Int)
  /// Another kind of interrupt is on in the host.
  case interrupts(TraceEvent.InterruptMode, count: Int)
  /// A vector was changed.
  case vector(Int, TraceEvent.VectorOperation)
  /// The function has been reset, alone or with its bus.
  case reset(TraceEvent.ResetReason, TraceEvent.ResetMethod)
  /// The guest does not have the device any more.
  case lost(TraceEvent.DeviceState)
  /// Something did not work, and the VM goes on without it.
  case warning(String)
}

/// Takes the events of a function and their durations in microseconds, with the function's lock held.
public typealias FunctionObserver = @Sendable (FunctionEvent, Int64) -> Void

/// What an assigned function did in the life of a VM.
public struct FunctionStatistics: Sendable {
  /// Windows that the function has.
  public var windows = 0
  /// Windows that were open at some time.
  public var windowsOpened = 0
  /// Memory slots that were added; one may hold several windows.
  public var slotsAdded = 0
  /// Bytes of the windows that were open at some time.
  public var bytesMapped: UInt64 = 0
  /// Accesses to BARs that came to Sluice.
  public var trappedAccesses = 0
  /// Of those, the ones that met a closed window.
  public var deniedAccesses = 0
  /// How often an open window was closed or demoted.
  public var closes = 0
  /// Vectors that the function has.
  public var vectors = 0
  /// Vectors that the guest has used.
  public var vectorsUsed = 0
}

/// A failure that ends the VM: the state of a device's mappings or interrupts is not certain any more.
public struct FunctionError: Error, Equatable, CustomStringConvertible {
  /// The device's address on the host.
  public let device: String
  /// What was being done, where, and what the kernel said.
  public let cause: OperationError

  /// Names a device and a cause.
  public init(device: String, cause: OperationError) { (self.device, self.cause) = (device, cause) }

  /// The device and the cause, for a person.
  public var description: String { "device \(device): \(cause)" }
}
