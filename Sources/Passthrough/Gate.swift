// SPDX-License-Identifier: Apache-2.0

/// The gate in front of a function's memory: a pure state machine that says, for each event, what
/// has to be done in which order. It touches nothing itself.
///
/// A window is *closed* while the function does not answer memory accesses, *armed* when it does
/// and the guest has not touched the window yet, and *open* from the first touch on. Closing takes
/// a window's memory slot and its IOVA away before the device is written; opening and arming come
/// after.
public struct Gate: Sendable, Hashable {
  /// What a window lets through.
  public enum State: String, Sendable {
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
    /// The guest touches a window.
    case access(window: Int)
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
    /// Take the window's memory slot away.
    case removeSlot(Int)
    /// Take the window's IOVA away in every container that has it.
    case removeIOVA(Int)
    /// Write to the device what the event is about. Never while a window of it is mapped that the
    /// write would disable.
    case apply
    /// Read back whether the device really answers now; the outcome decides between armed and closed.
    case readBack
    /// Map the window for the guest's CPUs; when that fails the window stays armed.
    case addSlot(Int)
    /// Map the window for the other devices that are to have it from this moment on. A failure changes
    /// nothing else.
    case addIOVA(Int, Moment)
    /// The window has gone from one state to another.
    case changed(Int, from: State, to: State)
  }

  /// For each window, the BAR that it is a part of.
  public let bars: [Int]
  /// When windows open.
  public let opening: MappingPolicy
  /// When windows become reachable for the other devices, at the earliest.
  public let reaching: MappingPolicy
  /// For each window, its state.
  public fileprivate(set) var states: [State]
  /// For each window, whether it may have an IOVA somewhere.
  public fileprivate(set) var isReachable: [Bool]
  /// Which conditions hold.
  public fileprivate(set) var conditions: Condition

  /// Makes a gate with all windows closed.
  ///
  /// - Parameters:
  ///   - bars: The BAR of each window.
  ///   - conditions: What holds at the start.
  ///   - opening: When windows open.
  ///   - reaching: The earliest of what the other devices ask for.
  public init(
    bars: [Int], conditions: Condition, opening: MappingPolicy = .onFault,
    reaching: MappingPolicy = .onFault
  ) {
    self.bars = bars
    self.conditions = conditions
    self.opening = opening
    self.reaching = reaching
    states = [State](repeating: .closed, count: bars.count)
    isReachable = [Bool](repeating: false, count: bars.count)
  }

  /// Whether the function answers memory accesses.
  public var isEffective: Bool { conditions == .all }

  /// Whether a window is mapped anywhere.
  public var isMapped: Bool { states.indices.contains(where: isMapped) }

  private func isMapped(_ window: Int) -> Bool { states[window] == .open || isReachable[window] }

  /// - Parameter bar: nil stands for all of them.
  fileprivate func isPart(_ window: Int, of bar: Int?) -> Bool { bar == nil || bar == bars[window] }

  /// Takes an event, as a gate that stands for itself; see ``GateKeeper/handle(_:perform:)``.
  public mutating func handle<Failure: Error>(
    _ event: Event, perform: (Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    var keeper = Alone(gate: self)
    defer { self = keeper.gate }
    try keeper.handle(event) { _, effect throws(Failure) in try perform(effect) }
  }

  private struct Alone: GateKeeper { var gate: Gate }
}

/// Who has a gate and does what it says. It is given back to itself for each effect, so that the gate need not
/// be copied for that.
protocol GateKeeper: ~Copyable {
  var gate: Gate { get set }
}

extension GateKeeper where Self: ~Copyable {
  /// Takes an event and has its effects performed, in order.
  ///
  /// - Parameter perform: Does one effect. What it returns counts for `readBack` and `addSlot`; what
  ///   it throws ends the event, with the states saying what has been done so far.
  mutating func handle<Failure: Error>(
    _ event: Gate.Event, perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    switch event {
    case .set(let condition, false):
      gate.conditions.subtract(condition)
      try close(perform)
      _ = try perform(&self, .apply)
    case .set(let condition, true):
      _ = try perform(&self, .apply)
      let wasEffective = gate.isEffective
      gate.conditions.formUnion(condition)
      guard gate.isEffective else { return }
      guard try perform(&self, .readBack) else {
        // What was read is the memory bit: that is the condition which does not hold, and the one
        // that a guest can set again, whichever event it was that asked.
        gate.conditions.subtract(.memoryEnabled)
        try close(perform)
        return
      }
      for window in gate.states.indices where gate.states[window] == .closed {
        try change(window, to: .armed, perform)
      }
      if !wasEffective { try map(bar: nil, at: .enable, perform) }
    case .move(let bar):
      try demote(bar: bar, perform)
      _ = try perform(&self, .apply)
      if gate.isEffective { try map(bar: bar, at: .move, perform) }
    case .access(let window):
      if gate.states[window] == .armed { try open(window, perform) }
    case .demote: try demote(bar: nil, perform)
    }
  }

  // Nothing here makes an array of windows, so that an exit does not allocate.

  private mutating func open<Failure: Error>(
    _ window: Int, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    guard try perform(&self, .addSlot(window)) else { return }
    try change(window, to: .open, perform)
    gate.isReachable[window] = true
    _ = try perform(&self, .addIOVA(window, .open))
  }

  /// Maps armed windows that nobody has touched, where a policy asks for that.
  private mutating func map<Failure: Error>(
    bar: Int?, at moment: Gate.Moment, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    func includes(_ policy: MappingPolicy) -> Bool {
      moment == .enable ? policy != .onFault : policy == .eager
    }
    for window in gate.states.indices where gate.states[window] == .armed && gate.isPart(window, of: bar) {
      if includes(gate.opening) { try open(window, perform) }
      guard includes(gate.reaching), gate.states[window] == .armed else { continue }
      gate.isReachable[window] = true
      _ = try perform(&self, .addIOVA(window, moment))
    }
  }

  private mutating func close<Failure: Error>(
    _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    try unmap(bar: nil, perform)
    for window in gate.states.indices { try change(window, to: .closed, perform) }
  }

  private mutating func demote<Failure: Error>(
    bar: Int?, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    try unmap(bar: bar, perform)
    for window in gate.states.indices where gate.states[window] == .open && gate.isPart(window, of: bar) {
      try change(window, to: .armed, perform)
    }
  }

  /// Takes away what is mapped of windows that are about to change: all slots go before any IOVA.
  private mutating func unmap<Failure: Error>(
    bar: Int?, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    for window in gate.states.indices where gate.states[window] == .open && gate.isPart(window, of: bar) {
      _ = try perform(&self, .removeSlot(window))
    }
    for window in gate.states.indices where gate.isReachable[window] && gate.isPart(window, of: bar) {
      _ = try perform(&self, .removeIOVA(window))
      gate.isReachable[window] = false
    }
  }

  private mutating func change<Failure: Error>(
    _ window: Int, to state: Gate.State, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    let old = gate.states[window]
    guard old != state else { return }
    gate.states[window] = state
    _ = try perform(&self, .changed(window, from: old, to: state))
  }
}
