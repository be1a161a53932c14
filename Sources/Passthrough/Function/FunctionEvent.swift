// SPDX-License-Identifier: Apache-2.0

public import Gate
public import Seams

/// What happens to an assigned function, told to the trace after it has happened.
public enum FunctionEvent: Sendable {
  /// Why a window changed.
  public enum Reason: Sendable {
    /// The guest touched it.
    case access
    /// The command register was written.
    case command
    /// A BAR was moved.
    case move
    /// The power state changed.
    case power
    /// A reset began or ended.
    case reset
    /// The kernel took the memory away under it.
    case fault
    /// The VM ends.
    case shutdown
    /// The kernel has met an error of the device.
    case error
    /// The host wants the device back.
    case release
  }

  /// Where a window is, or several that follow each other.
  public struct Place: Sendable {
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

  /// A window went from one state to another; its slot has been added or removed by now.
  case gate(Place, from: Gate.State, to: Gate.State, Reason)
  /// The device's command register has been written.
  case command(old: UInt16, new: UInt16)
  /// Windows became, or are no more, reachable for other devices at their guest-physical address.
  ///
  /// - Parameter space: The I/O address space.
  case peerDMA(Place, space: Int, isMapped: Bool)
  /// Another kind of interrupt is on in the host.
  case interrupts(InterruptMode, count: Int)
  /// A vector was changed.
  case vector(Int, VectorChange)
  /// The function has been reset, alone or with its bus.
  case reset(ResetReason, withBus: Bool)
  /// The guest does not have the device any more.
  case lost(Loss)
  /// Something did not work, and the VM goes on without it.
  case warning(String)
}

/// Why a function was reset.
public enum ResetReason: Sendable {
  /// It came from the host.
  case start
  /// The guest asked for it (FLR).
  case flr
  /// It came from D3hot to D0 and does not keep its state (PCI PM 1.2 §3.2.4, No_Soft_Reset).
  case power
  /// It goes back to the host.
  case handBack
}

/// How a guest loses a device and lives on.
public enum Loss: Sendable {
  /// After an error of it; Sluice keeps it until the VM ends.
  case isolated
  /// It has been given back to the host.
  case released
}

/// Takes what happens to a function, with the function's lock held; after it the microseconds it took.
public typealias FunctionObserver = @Sendable (FunctionEvent, Int64) -> Void

/// What was done to an interrupt vector.
public enum VectorChange: Sendable {
  /// The host has allocated it and an eventfd is its trigger.
  case allocate
  /// It is connected to the guest's interrupt controller.
  case unmask
  /// It is disconnected; its eventfd keeps what arrives.
  case mask
  /// It has another message.
  case route
}

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
