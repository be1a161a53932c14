// SPDX-License-Identifier: Apache-2.0

/// The events and effects of a gate.
extension Gate {
  /// The state of a window.
  public enum State: Sendable {
    /// No access reaches the device. Reads return all-ones and writes are dropped.
    case closed
    /// The first access reaches the device and opens the window.
    case armed
    /// Every access reaches the device without an exit.
    case open
  }

  /// A condition for the function to answer memory accesses.
  public struct Condition: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt8
    /// Creates a set from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The command register's memory bit is set.
    public static let memoryEnabled = Condition(rawValue: 1)
    /// The function is in D0.
    public static let fullPower = Condition(rawValue: 2)
    /// No reset is in progress.
    public static let outOfReset = Condition(rawValue: 4)
    /// The device answers.
    public static let alive = Condition(rawValue: 8)
    /// The function's port, if any, forwards accesses: it has power and link, and contains no error.
    public static let connected = Condition(rawValue: 16)

    /// All conditions.
    public static let all: Condition = [.memoryEnabled, .fullPower, .outOfReset, .alive, .connected]
    /// The conditions of a function that the guest has not enabled.
    public static let initial = all.subtracting(.memoryEnabled)
  }

  /// An event of the function.
  public enum Event: Sendable, Hashable {
    /// The guest or the host changes a condition. The event includes the write to the device.
    case set(Condition, Bool)
    /// The guest moves a BAR.
    case move(bar: Int)
    /// The guest has accessed a window. The instruction may make further accesses.
    case access(window: Int)
    /// Every vCPU is between two instructions. Due windows open.
    case open
    /// The kernel has removed the memory under an open window.
    case demote
  }

  /// An operation after which a policy maps windows.
  public enum MapTrigger: Sendable, Hashable {
    /// A window has opened.
    case open
    /// The function has begun to answer memory accesses.
    case enable
    /// The BAR has been moved.
    case move
  }

  /// One step of an event. The owner performs the effects in order.
  public enum Effect: Sendable, Hashable {
    /// Remove all memory slots of a span.
    case removeSlots(Range<Int>)
    /// Remove all IOVAs of a span in every I/O address space.
    case removeIOVAs(Range<Int>)
    /// Perform the event's write to the device. Windows that the write disables are already unmapped.
    case apply
    /// Read the device back. The result selects armed or closed.
    case readBack
    /// Map a span for the guest's CPUs with one slot. After a failure its windows stay armed.
    case addSlot(Range<Int>)
    /// Map a span for the other devices whose policy includes this trigger. A failure changes nothing else.
    case addIOVA(Range<Int>, MapTrigger)
    /// A window has changed its state.
    case changed(Int, from: State, to: State)
  }
}
