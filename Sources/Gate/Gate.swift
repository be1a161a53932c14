// SPDX-License-Identifier: Apache-2.0

/// The gate in front of a function's memory. It is a pure state machine. For each event it returns the
/// effects in order and performs none of them.
///
/// A window is *closed* while the function does not answer memory accesses. It is *armed* if the function
/// answers and the guest has not touched the window. It is *open* from the first touch on. Closing removes
/// the window's memory slot and IOVA before the device is written. Arming and opening follow the write.
///
/// An access or a policy makes an armed window *due*. A due window opens by ``Event/open``. The owner sends
/// this event while no vCPU is inside an instruction. Otherwise KVM would perform the rest of the instruction
/// through the new slot (KVM api.rst, KVM_EXIT_MMIO).
///
/// Adjoining windows of a BAR form a span. The windows of a span that were open when the gate last closed
/// open together at the first touch of any of them. One effect maps or unmaps a whole span.
public struct Gate: Sendable, Hashable {
  /// The BAR of each window.
  public let bars: [Int]
  /// For each window, true if it adjoins the window before it, in the BAR and in host memory.
  public let adjoins: [Bool]
  /// The policy that decides when windows open for the guest's CPUs.
  public let cpuPolicy: MappingPolicy
  /// The most eager policy of all peers. It decides when windows first become reachable for other devices.
  public let peerPolicy: MappingPolicy
  /// The state of each window.
  public internal(set) var states: [State]
  /// For each window, true if it may have an IOVA in an I/O address space.
  public internal(set) var isPeerMapped: [Bool]
  /// For each window, true if the next ``Event/open`` opens it.
  public internal(set) var isDue: [Bool]
  /// True if a window is due.
  public internal(set) var isOpeningDue = false
  /// For each window that adjoins another, true if it was open when its BAR last closed with an open window.
  public internal(set) var wasOpenAtClose: [Bool]
  /// The conditions that hold.
  public internal(set) var conditions: Condition

  /// Creates a gate with all windows closed.
  ///
  /// - Parameters:
  ///   - bars: The BAR of each window. Windows of one BAR follow each other.
  ///   - adjoins: For each window, true if it adjoins the window before it. A missing entry means false.
  ///   - conditions: The initial conditions.
  ///   - cpuPolicy: The policy that decides when windows open.
  ///   - peerPolicy: The most eager policy of all peers.
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

  /// - Parameters:
  ///   - window: The index of the window.
  ///   - bar: A BAR, or nil for all BARs.
  func isPart(_ window: Int, of bar: Int?) -> Bool { bar == nil || bar == bars[window] }

  // A non-mutating call would copy the gate and retain its arrays. Searches on the path of an exit are
  // therefore `mutating`.

  /// A property that all windows of a span have.
  enum WindowPredicate {
    case open
    case armed
    /// Armed, and open when the gate last closed.
    case reopening
    /// Possibly with an IOVA in an I/O address space.
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

  /// Marks an armed window as due.
  mutating func makeDue(_ window: Int) {
    guard states[window] == .armed else { return }
    isDue[window] = true
    isOpeningDue = true
  }

  /// Returns the windows that open with a touched window. This is the span around it that was open with it.
  mutating func openingSpan(with window: Int) -> Range<Int> {
    has(.reopening, window) ? span(.reopening, around: window) : window..<window + 1
  }

  /// Returns the span around a window whose windows satisfy a predicate.
  private func span(_ predicate: WindowPredicate, around window: Int) -> Range<Int> {
    var first = window
    var end = window + 1
    while adjoins[first], has(predicate, first - 1) { first -= 1 }
    while end < adjoins.count, adjoins[end], has(predicate, end) { end += 1 }
    return first..<end
  }

  /// Returns the next span whose windows satisfy a predicate, or nil if none is left.
  ///
  /// - Parameters:
  ///   - predicate: The property that every window of the span has.
  ///   - start: The window at which the search begins. It is the first window or the end of the previous
  ///     span.
  ///   - bar: A BAR, or nil for all BARs.
  mutating func span(_ predicate: WindowPredicate, from start: Int, bar: Int?) -> Range<Int>? {
    var window = start
    while window < bars.count {
      if has(predicate, window), isPart(window, of: bar) { return span(predicate, around: window) }
      window += 1
    }
    return nil
  }

  /// Records which windows are open before they close. A BAR without an open window keeps its earlier record.
  ///
  /// - Parameter bar: A BAR, or nil for all BARs.
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

  /// The remaining work of the current event, or nil if no event is in progress.
  var work: Work?
}
