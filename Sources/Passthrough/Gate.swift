// SPDX-License-Identifier: Apache-2.0

/// The gate in front of a function's memory: a pure state machine that says, for each event, what
/// has to be done in which order. It touches nothing itself.
///
/// A window is *closed* while the function does not answer memory accesses, *armed* when it does
/// and the guest has not touched the window yet, and *open* from the first touch on. Closing takes
/// a window's memory slot and its IOVA away before the device is written; opening and arming come
/// after.
///
/// An access or a policy makes an armed window *due*. A due window opens by ``Event/open``, which the
/// owner sends while no vCPU is inside an instruction: KVM would do the rest of such an instruction
/// through the new slot (KVM api.rst, KVM_EXIT_MMIO).
///
/// What adjoins in a BAR is one piece where that costs nothing: neighbours that were open when the gate
/// last closed open again together, by the first touch of any of them, and what is mapped or unmapped together
/// is one run in one effect.
public struct Gate: Sendable, Hashable {
  /// For each window, the BAR that it is a part of.
  public let bars: [Int]
  /// For each window, whether it begins where the one before it ends, in the BAR and in the host's memory.
  public let adjoins: [Bool]
  /// When windows open.
  public let opening: MappingPolicy
  /// When windows become reachable for the other devices, at the earliest.
  public let reaching: MappingPolicy
  /// For each window, its state.
  public fileprivate(set) var states: [State]
  /// For each window, whether it may have an IOVA somewhere.
  public fileprivate(set) var isReachable: [Bool]
  /// For each window, true if the next ``Event/open`` opens it.
  public fileprivate(set) var isDue: [Bool]
  /// True if a window is due.
  public fileprivate(set) var isOpeningDue = false
  /// For each window that has a neighbour, whether it was open when its BAR last went from open to closed.
  public fileprivate(set) var wasOpen: [Bool]
  /// Which conditions hold.
  public fileprivate(set) var conditions: Condition

  /// Makes a gate with all windows closed.
  ///
  /// - Parameters:
  ///   - bars: The BAR of each window; those of one BAR follow each other.
  ///   - adjoins: Whether each window adjoins the one before it; none does where nothing is said.
  ///   - conditions: What holds at the start.
  ///   - opening: When windows open.
  ///   - reaching: The earliest of what the other devices ask for.
  public init(
    bars: [Int], adjoins: [Bool] = [], conditions: Condition, opening: MappingPolicy = .onFault,
    reaching: MappingPolicy = .onFault
  ) {
    self.bars = bars
    self.adjoins = bars.indices.map { window in
      window > 0 && window < adjoins.count && adjoins[window] && bars[window] == bars[window - 1]
    }
    self.conditions = conditions
    self.opening = opening
    self.reaching = reaching
    states = [State](repeating: .closed, count: bars.count)
    isReachable = [Bool](repeating: false, count: bars.count)
    isDue = [Bool](repeating: false, count: bars.count)
    wasOpen = [Bool](repeating: false, count: bars.count)
  }

  /// Whether the function answers memory accesses.
  public var isEffective: Bool { conditions == .all }

  /// Whether a window is mapped anywhere.
  public var isMapped: Bool { states.indices.contains(where: isMapped) }

  private func isMapped(_ window: Int) -> Bool { states[window] == .open || isReachable[window] }

  /// - Parameter bar: nil stands for all of them.
  fileprivate func isPart(_ window: Int, of bar: Int?) -> Bool { bar == nil || bar == bars[window] }

  // Whoever has the gate copies it, and counts references, for what does not change it, and for closures: those
  // that look for windows on the way of an exit are 'mutating'.

  /// What windows of a run have in common.
  fileprivate enum Trait {
    case open
    case armed
    /// Armed, and open when the gate last closed.
    case reopening
    /// It may have an IOVA.
    case reachable
  }

  private func has(_ trait: Trait, _ window: Int) -> Bool {
    switch trait {
    case .open: states[window] == .open
    case .armed: states[window] == .armed
    case .reopening: states[window] == .armed && wasOpen[window]
    case .reachable: isReachable[window]
    }
  }

  /// Makes an armed window due.
  fileprivate mutating func makeDue(_ window: Int) {
    guard states[window] == .armed else { return }
    isDue[window] = true
    isOpeningDue = true
  }

  /// The windows that open together with one that is touched: those next to it that were open with it.
  fileprivate mutating func opening(with window: Int) -> Range<Int> {
    has(.reopening, window) ? run(.reopening, around: window) : window..<window + 1
  }

  /// A window with those of its neighbours, and theirs, that have something in common.
  private func run(_ trait: Trait, around window: Int) -> Range<Int> {
    var first = window
    var end = window + 1
    while adjoins[first], has(trait, first - 1) { first -= 1 }
    while end < adjoins.count, adjoins[end], has(trait, end) { end += 1 }
    return first..<end
  }

  /// The first run of windows that have something in common; nil where none has it.
  ///
  /// - Parameters:
  ///   - start: The window to begin at, which is the first one or follows a run.
  ///   - bar: nil stands for all of them.
  fileprivate mutating func run(_ trait: Trait, from start: Int, bar: Int?) -> Range<Int>? {
    var window = start
    while window < bars.count {
      if has(trait, window), isPart(window, of: bar) { return run(trait, around: window) }
      window += 1
    }
    return nil
  }

  /// Keeps in mind what is open of the BARs that are about to be closed; one without an open window keeps what it
  /// had.
  ///
  /// - Parameter bar: nil stands for all of them.
  fileprivate mutating func remember(bar: Int?) {
    var first = 0
    while first < bars.count {
      var end = first
      var isOpen = false
      while end < bars.count, bars[end] == bars[first] {
        if states[end] == .open { isOpen = true }
        end += 1
      }
      if isOpen, isPart(first, of: bar) {
        for window in first..<end where hasNeighbour(window) { wasOpen[window] = states[window] == .open }
      }
      first = end
    }
  }

  private func hasNeighbour(_ window: Int) -> Bool {
    adjoins[window] || window + 1 < adjoins.count && adjoins[window + 1]
  }

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
      if gate.isEffective { gate.remember(bar: nil) }
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
        gate.remember(bar: nil)
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
    case .access(let window): gate.makeDue(window)
    case .open: try openDue(perform)
    case .demote: try demote(bar: nil, perform)
    }
  }

  // Nothing here makes an array of windows, so that an exit does not allocate.

  private mutating func openDue<Failure: Error>(
    _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    gate.isOpeningDue = false
    for window in gate.states.indices where gate.isDue[window] {
      gate.isDue[window] = false
      if gate.states[window] == .armed { try open(window, perform) }
    }
  }

  private mutating func open<Failure: Error>(
    _ window: Int, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    var run = gate.opening(with: window)
    if try !perform(&self, .addSlot(run)) {
      // There may be room for the one, where the guest has put something else over its neighbour.
      guard run.count > 1 else { return }
      run = window..<window + 1
      guard try perform(&self, .addSlot(run)) else { return }
    }
    for window in run { gate.states[window] = .open }
    for window in run { _ = try perform(&self, .changed(window, from: .armed, to: .open)) }
    try reach(run, .open, perform)
  }

  private mutating func reach<Failure: Error>(
    _ run: Range<Int>, _ moment: Gate.Moment, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    for window in run { gate.isReachable[window] = true }
    _ = try perform(&self, .addIOVA(run, moment))
  }

  /// Makes armed windows due and maps them for peers as the policies say, although no access has come.
  private mutating func map<Failure: Error>(
    bar: Int?, at moment: Gate.Moment, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    func includes(_ policy: MappingPolicy) -> Bool {
      moment == .enable ? policy != .onFault : policy == .eager
    }
    if includes(gate.opening) {
      for window in gate.states.indices where gate.isPart(window, of: bar) { gate.makeDue(window) }
    }
    guard includes(gate.reaching) else { return }
    var next = 0
    while let run = gate.run(.armed, from: next, bar: bar) {
      try reach(run, moment, perform)
      next = run.upperBound
    }
  }

  private mutating func close<Failure: Error>(
    _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    try unmap(bar: nil, perform)
    gate.isOpeningDue = false
    for window in gate.states.indices {
      gate.isDue[window] = false
      try change(window, to: .closed, perform)
    }
  }

  private mutating func demote<Failure: Error>(
    bar: Int?, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    gate.remember(bar: bar)
    try unmap(bar: bar, perform)
    for window in gate.states.indices where gate.states[window] == .open && gate.isPart(window, of: bar) {
      try change(window, to: .armed, perform)
    }
  }

  /// Takes away what is mapped of windows that are about to change: all slots go before any IOVA.
  private mutating func unmap<Failure: Error>(
    bar: Int?, _ perform: (inout Self, Gate.Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    var next = 0
    while let run = gate.run(.open, from: next, bar: bar) {
      _ = try perform(&self, .removeSlots(run))
      next = run.upperBound
    }
    next = 0
    while let run = gate.run(.reachable, from: next, bar: bar) {
      _ = try perform(&self, .removeIOVAs(run))
      for window in run { gate.isReachable[window] = false }
      next = run.upperBound
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
