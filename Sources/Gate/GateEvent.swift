// SPDX-License-Identifier: Apache-2.0

/// What happens to a gate, and what it says to that.
extension Gate {
  /// What a window lets through.
  public enum State: Sendable {
    /// Nothing: reads give all-ones, writes are dropped.
    case closed
    /// The first access, which opens it.
    case armed
    /// Everything, without an exit.
    case open
  }

  /// What has to hold for the function to answer memory accesses.
  public struct Condition: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt8
    /// Makes a set of its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The command register's memory bit is set.
    public static let memoryEnabled = Condition(rawValue: 1)
    /// The function is in D0.
    public static let fullPower = Condition(rawValue: 2)
    /// No reset is going on.
    public static let outOfReset = Condition(rawValue: 4)
    /// The device answers.
    public static let alive = Condition(rawValue: 8)

    /// All of them.
    public static let all: Condition = [.memoryEnabled, .fullPower, .outOfReset, .alive]
  }

  /// What happens to the function.
  public enum Event: Sendable, Hashable {
    /// The guest or the host changes a condition, by a write to the device that is part of it.
    case set(Condition, Bool)
    /// The guest moves a BAR.
    case move(bar: Int)
    /// The guest has accessed a window; the instruction may have further accesses.
    case access(window: Int)
    /// Every vCPU is between two instructions: windows that are due open.
    case open
    /// The kernel took the memory away under an open window.
    case demote
  }

  /// What makes a window reachable for other devices.
  public enum Moment: Sendable, Hashable {
    /// It has opened.
    case open
    /// The function has come to answer.
    case enable
    /// Its BAR has been moved.
    case move
  }

  /// One step. They are to be done in the order given.
  public enum Effect: Sendable, Hashable {
    /// Take all memory slots of neighbouring windows away.
    case removeSlots(Range<Int>)
    /// Take all IOVAs of neighbouring windows away in every container that has one.
    case removeIOVAs(Range<Int>)
    /// Write to the device what the event is about. Never while a window of it is mapped that the
    /// write would disable.
    case apply
    /// Read back whether the device really answers now; the outcome decides between armed and closed.
    case readBack
    /// Map neighbouring windows for the guest's CPUs, by one slot; when that fails they stay armed.
    case addSlot(Range<Int>)
    /// Map neighbouring windows for the other devices that are to have them from this moment on. A failure
    /// changes nothing else.
    case addIOVA(Range<Int>, Moment)
    /// The window has gone from one state to another.
    case changed(Int, from: State, to: State)
  }
}
