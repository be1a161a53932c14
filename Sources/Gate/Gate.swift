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
  public internal(set) var states: [State]
  /// For each window, whether it may have an IOVA somewhere.
  public internal(set) var isReachable: [Bool]
  /// For each window, true if the next ``Event/open`` opens it.
  public internal(set) var isDue: [Bool]
  /// True if a window is due.
  public internal(set) var isOpeningDue = false
  /// For each window that has a neighbour, whether it was open when its BAR last went from open to closed.
  public internal(set) var wasOpen: [Bool]
  /// Which conditions hold.
  public internal(set) var conditions: Condition

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
  func isPart(_ window: Int, of bar: Int?) -> Bool { bar == nil || bar == bars[window] }

  // A non-mutating call would copy the gate and retain its arrays. Searches on the path of an exit are 'mutating'.

  /// What windows of a run have in common.
  enum Trait {
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
  mutating func makeDue(_ window: Int) {
    guard states[window] == .armed else { return }
    isDue[window] = true
    isOpeningDue = true
  }

  /// The windows that open together with one that is touched: those next to it that were open with it.
  mutating func opening(with window: Int) -> Range<Int> {
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
  mutating func run(_ trait: Trait, from start: Int, bar: Int?) -> Range<Int>? {
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
  mutating func remember(bar: Int?) {
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

  /// The event that has begun and has not ended.
  var work: Work?
}
