// SPDX-License-Identifier: Apache-2.0

/// The gate in front of a function's memory: a pure state machine that returns, for each event, the
/// effects in their order. It performs none of them.
///
/// A window is *closed* while the function does not answer memory accesses. It is *armed* when the function
/// answers and the guest has not touched the window yet, and *open* from the first touch on. Closing removes
/// the memory slot and the IOVA of a window before the device is written. Arming and opening follow the write.
///
/// An access or a policy makes an armed window *due*. A due window opens by ``Event/open``, which the
/// owner sends while no vCPU is inside an instruction: KVM would do the rest of such an instruction
/// through the new slot (KVM api.rst, KVM_EXIT_MMIO).
///
/// Windows that adjoin in a BAR form a run where that costs nothing. Windows of a run that were open when the
/// gate last closed open together at the first touch of any of them. One effect maps or unmaps a whole run.
public struct Gate: Sendable, Hashable {
  /// The BAR of each window.
  public let bars: [Int]
  /// For each window, true if it begins where the window before it ends, in the BAR and in the host's memory.
  public let adjoins: [Bool]
  /// When windows open.
  public let cpuPolicy: MappingPolicy
  /// The earliest time at which windows become reachable for the other devices.
  public let peerPolicy: MappingPolicy
  /// The state of each window.
  public internal(set) var states: [State]
  /// For each window, true if it may have an IOVA in a container.
  public internal(set) var isPeerMapped: [Bool]
  /// For each window, true if the next ``Event/open`` opens it.
  public internal(set) var isDue: [Bool]
  /// True if a window is due.
  public internal(set) var isOpeningDue = false
  /// For each window of a run, true if it was open when its BAR last closed.
  public internal(set) var wasOpenAtClose: [Bool]
  /// The conditions that hold.
  public internal(set) var conditions: Condition

  /// Creates a gate with all windows closed.
  ///
  /// - Parameters:
  ///   - bars: The BAR of each window. Windows of one BAR follow each other.
  ///   - adjoins: For each window, true if it adjoins the window before it. A missing entry means false.
  ///   - conditions: The conditions that hold at the start.
  ///   - opening: When windows open.
  ///   - reaching: The earliest policy of all other devices.
  public init(
    bars: [Int], adjoins: [Bool] = [], conditions: Condition, cpuPolicy: MappingPolicy = .onFault,
    peerPolicy: MappingPolicy = .onFault
  ) {
    self.bars = bars
    self.adjoins = bars.indices.map { window in
      window > 0 && window < adjoins.count && adjoins[window] && bars[window] == bars[window - 1]
    }
    self.conditions = conditions
    self.cpuPolicy = cpuPolicy
    self.peerPolicy = peerPolicy
    states = [State](repeating: .closed, count: bars.count)
    isPeerMapped = [Bool](repeating: false, count: bars.count)
    isDue = [Bool](repeating: false, count: bars.count)
    wasOpenAtClose = [Bool](repeating: false, count: bars.count)
  }

  /// True if the function answers memory accesses.
  public var isEffective: Bool { conditions == .all }

  /// True if a window has a slot or may have an IOVA.
  public var isMapped: Bool { states.indices.contains(where: isMapped) }

  private func isMapped(_ window: Int) -> Bool { states[window] == .open || isPeerMapped[window] }

  /// - Parameter bar: nil stands for all BARs.
  func isPart(_ window: Int, of bar: Int?) -> Bool { bar == nil || bar == bars[window] }

  // A non-mutating call would copy the gate and retain its arrays. Searches on the path of an exit are 'mutating'.

  /// A property by which windows form a run.
  enum WindowPredicate {
    case open
    case armed
    /// Armed, and open when the gate last closed.
    case reopening
    /// With an IOVA in some container, perhaps.
    case reachable
  }

  private func has(_ predicate: WindowPredicate, _ window: Int) -> Bool {
    switch predicate {
    case .open: states[window] == .open
    case .armed: states[window] == .armed
    case .reopening: states[window] == .armed && wasOpenAtClose[window]
    case .reachable: isPeerMapped[window]
    }
  }

  /// Makes an armed window due.
  mutating func makeDue(_ window: Int) {
    guard states[window] == .armed else { return }
    isDue[window] = true
    isOpeningDue = true
  }

  /// The windows that open together with a touched window: the run around it that was open with it.
  mutating func cpuPolicy(with window: Int) -> Range<Int> {
    has(.reopening, window) ? span(.reopening, around: window) : window..<window + 1
  }

  /// The run with a trait around a window.
  private func span(_ predicate: WindowPredicate, around window: Int) -> Range<Int> {
    var first = window
    var end = window + 1
    while adjoins[first], has(predicate, first - 1) { first -= 1 }
    while end < adjoins.count, adjoins[end], has(predicate, end) { end += 1 }
    return first..<end
  }

  /// Returns the next run with a trait, or nil if no window has it.
  ///
  /// - Parameters:
  ///   - start: The window at which the search begins: the first window, or the end of a run.
  ///   - bar: nil stands for all BARs.
  mutating func span(_ predicate: WindowPredicate, from start: Int, bar: Int?) -> Range<Int>? {
    var window = start
    while window < bars.count {
      if has(predicate, window), isPart(window, of: bar) { return span(predicate, around: window) }
      window += 1
    }
    return nil
  }

  /// Records which windows are open, before they close. A BAR without an open window keeps its record.
  ///
  /// - Parameter bar: nil stands for all BARs.
  mutating func recordOpenWindows(bar: Int?) {
    var first = 0
    while first < bars.count {
      var end = first
      var isOpen = false
      while end < bars.count, bars[end] == bars[first] {
        if states[end] == .open { isOpen = true }
        end += 1
      }
      if isOpen, isPart(first, of: bar) {
        for window in first..<end where hasNeighbour(window) {
          wasOpenAtClose[window] = states[window] == .open
        }
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
