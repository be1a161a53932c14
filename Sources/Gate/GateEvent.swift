// SPDX-License-Identifier: Apache-2.0

/// The events and effects of a gate.
extension Gate {
  /// The state of a window.
  public enum State: Sendable {
    /// No access reaches the device: reads return all-ones, writes are dropped.
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
    /// Makes a set of its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The command register's memory bit is set.
    public static let memoryEnabled = Condition(rawValue: 1)
    /// The function is in D0.
    public static let fullPower = Condition(rawValue: 2)
    /// No reset is in progress.
    public static let outOfReset = Condition(rawValue: 4)
    /// The device answers.
    public static let alive = Condition(rawValue: 8)

    /// All of them.
    public static let all: Condition = [.memoryEnabled, .fullPower, .outOfReset, .alive]
  }

  /// An event of the function.
  public enum Event: Sendable, Hashable {
    /// The guest or the host changes a condition. The write to the device is part of the event.
    case set(Condition, Bool)
    /// The guest moves a BAR.
    case move(bar: Int)
    /// The guest has accessed a window. The instruction may make further accesses.
    case access(window: Int)
    /// Every vCPU is between two instructions: due windows open.
    case open
    /// The kernel has removed the memory under an open window.
    case demote
  }

  /// A moment at which windows become reachable for other devices.
  public enum MapTrigger: Sendable, Hashable {
    /// A window has opened.
    case open
    /// The function has begun to answer memory accesses.
    case enable
    /// The BAR has been moved.
    case move
  }

  /// One step of an event. The owner performs the steps in their order.
  public enum Effect: Sendable, Hashable {
    /// Remove all memory slots of a run.
    case removeSlots(Range<Int>)
    /// Remove all IOVAs of a run, in every container.
    case removeIOVAs(Range<Int>)
    /// Perform the event's write to the device. A window that the write disables is not mapped any more.
    case apply
    /// Read the device back: the result decides between armed and closed.
    case readBack
    /// Map a run for the guest's CPUs by one slot. After a failure its windows stay armed.
    case addSlot(Range<Int>)
    /// Map a run for the other devices whose policy includes this moment. A failure changes nothing else.
    case addIOVA(Range<Int>, MapTrigger)
    /// A window has changed its state.
    case changed(Int, from: State, to: State)
  }
}
