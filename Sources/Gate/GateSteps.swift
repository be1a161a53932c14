// SPDX-License-Identifier: Apache-2.0

/// The effects of an event, returned one by one. The steps create no array of windows, so an exit does not
/// allocate.
extension Gate {
  /// The remaining work of an event.
  struct Work: Hashable {
    let event: Event
    var step: Step
    /// True if the function answered before the event.
    var wasEffective = false
  }

  /// A step of the work. A step with `from` visits the windows in order, beginning at that window.
  enum Step: Hashable {
    case removeSlots(from: Int)
    case removeIOVAs(from: Int)
    case removedIOVAs(Range<Int>)
    /// Changes the states of windows that have been unmapped.
    case change(from: Int)
    case apply
    case applied
    case readBack
    case arm(from: Int)
    /// Applies the policies that map windows without an access.
    case map
    case reach(from: Int)
    case open(from: Int)
    /// A slot for a span has been requested because of one of its windows.
    case addedSlot(Range<Int>, for: Int)
    case opened(Range<Int>, for: Int, next: Int)
  }

  /// Begins an event. ``next(_:)`` returns its effects. ``end()`` follows, even after an effect that failed.
  ///
  /// - Precondition: No other event is in progress. A nested event would discard the rest of the outer event.
  public mutating func begin(_ event: Event) {
    precondition(work == nil, "an event is already in progress")
    switch event {
    case .set(let condition, false):
      if isEffective { recordOpenWindows(bar: nil) }
      conditions.subtract(condition)
      work = Work(event: event, step: .removeSlots(from: 0))
    case .set(_, true): work = Work(event: event, step: .apply)
    case .move(let bar):
      recordOpenWindows(bar: bar)
      work = Work(event: event, step: .removeSlots(from: 0))
    case .demote:
      recordOpenWindows(bar: nil)
      work = Work(event: event, step: .removeSlots(from: 0))
    case .access(let window): makeDue(window)
    case .open:
      isOpeningDue = false
      work = Work(event: event, step: .open(from: 0))
    }
  }

  /// Ends an event and drops its remaining effects. ``states`` reflects the changes that were made.
  public mutating func end() { work = nil }

  /// Returns the next effect of the current event, or nil if none is left.
  ///
  /// - Parameter result: The result of the previous effect. It matters only for `readBack` and `addSlot`.
  public mutating func next(_ result: Bool) -> Effect? {
    while let current = work {
      switch current.step {
      case .removeSlots(let window):
        guard let span = span(.open, from: window, bar: current.bar) else {
          work?.step = .removeIOVAs(from: 0)
          continue
        }
        work?.step = .removeSlots(from: span.upperBound)
        return .removeSlots(span)
      case .removeIOVAs(let window):
        guard let span = span(.reachable, from: window, bar: current.bar) else {
          if current.closesWindows { isOpeningDue = false }
          work?.step = .change(from: 0)
          continue
        }
        work?.step = .removedIOVAs(span)
        return .removeIOVAs(span)
      case .removedIOVAs(let span):
        for window in span { isPeerMapped[window] = false }
        work?.step = .removeIOVAs(from: span.upperBound)
      case .change(let window):
        guard window < states.count else {
          work = current.afterChange
          continue
        }
        work?.step = .change(from: window + 1)
        if let effect = unmapped(window, current) { return effect }
      case .apply:
        work?.step = .applied
        return .apply
      case .applied:
        if let effect = applied(current) { return effect }
      case .readBack:
        if result {
          work?.step = .arm(from: 0)
        } else {
          // The owner read the memory bit, so `memoryEnabled` is the condition that does not hold. The guest
          // can set this bit again, whatever condition the event was about.
          recordOpenWindows(bar: nil)
          conditions.subtract(.memoryEnabled)
          work?.step = .removeSlots(from: 0)
        }
      case .arm(let window):
        guard window < states.count else {
          work?.step = .map
          if current.wasEffective { work = nil }
          continue
        }
        work?.step = .arm(from: window + 1)
        if let effect = change(window, from: .closed, to: .armed) { return effect }
      case .map: map(current)
      case .reach(let window):
        guard let span = span(.armed, from: window, bar: current.bar) else {
          work = nil
          continue
        }
        for window in span { isPeerMapped[window] = true }
        work?.step = .reach(from: span.upperBound)
        return .addIOVA(span, current.trigger)
      case .open, .addedSlot, .opened:
        if let effect = openNext(current.step, result) { return effect }
      }
    }
    return nil
  }

  /// Changes the state of a window that has been unmapped.
  private mutating func unmapped(_ window: Int, _ work: Work) -> Effect? {
    if work.closesWindows {
      isDue[window] = false
      return change(window, from: states[window], to: .closed)
    }
    return isPart(window, of: work.bar) ? change(window, from: .open, to: .armed) : nil
  }

  private mutating func change(_ window: Int, from old: State, to new: State) -> Effect? {
    guard states[window] == old, old != new else { return nil }
    states[window] = new
    return .changed(window, from: old, to: new)
  }

  /// Continues after the write to the device.
  private mutating func applied(_ current: Work) -> Effect? {
    switch current.event {
    case .set(let condition, true):
      let wasEffective = isEffective
      work?.wasEffective = wasEffective
      conditions.formUnion(condition)
      guard isEffective else { break }
      work?.step = .readBack
      return .readBack
    case .move where isEffective:
      work?.step = .map
      return nil
    default: break
    }
    work = nil
    return nil
  }

  /// Makes armed windows due if the policy for the guest's CPUs maps without an access, and continues with the
  /// policies for peers.
  private mutating func map(_ current: Work) {
    if cpuPolicy.includes(current.trigger) {
      for window in states.indices where isPart(window, of: current.bar) { makeDue(window) }
    }
    if peerPolicy.includes(current.trigger) { work?.step = .reach(from: 0) } else { work = nil }
  }

  /// Opens windows that are due.
  private mutating func openNext(_ step: Step, _ result: Bool) -> Effect? {
    switch step {
    case .open(let first):
      var window = first
      while window < states.count {
        if isDue[window] {
          isDue[window] = false
          if states[window] == .armed {
            let span = openingSpan(with: window)
            work?.step = .addedSlot(span, for: window)
            return .addSlot(span)
          }
        }
        window += 1
      }
      work = nil
    case .addedSlot(let span, let window):
      if result {
        for window in span { states[window] = .open }
        work?.step = .opened(span, for: window, next: span.lowerBound)
      } else if span.count > 1 {
        // The touched window may fit alone if the guest has placed something else over its neighbour.
        work?.step = .addedSlot(window..<window + 1, for: window)
        return .addSlot(window..<window + 1)
      } else {
        work?.step = .open(from: window + 1)
      }
    case .opened(let span, let window, let next):
      if next < span.upperBound {
        work?.step = .opened(span, for: window, next: next + 1)
        return .changed(next, from: .armed, to: .open)
      }
      for window in span { isPeerMapped[window] = true }
      work?.step = .open(from: window + 1)
      return .addIOVA(span, .open)
    default: break
    }
    return nil
  }

  /// Handles an event and performs its effects in order.
  ///
  /// - Parameters:
  ///   - event: The event of the function.
  ///   - perform: Performs one effect. The result matters only for `readBack` and `addSlot`. An error aborts
  ///     the event. ``states`` reflects the effects already performed.
  public mutating func handle<Failure: Error>(
    _ event: Event, perform: (Effect) throws(Failure) -> Bool
  ) throws(Failure) {
    begin(event)
    defer { end() }
    var result = true
    while let effect = next(result) { result = try perform(effect) }
  }
}

extension Gate.Work {
  /// The BAR whose windows the event affects, or nil for all BARs.
  var bar: Int? { if case .move(let bar) = event { bar } else { nil } }

  /// True if unmapped windows become closed. Otherwise they become armed.
  var closesWindows: Bool { if case .set = event { true } else { false } }

  var trigger: Gate.MapTrigger { if case .move = event { .move } else { .enable } }

  /// The work after windows have been unmapped, or nil if none is left.
  var afterChange: Gate.Work? {
    switch event {
    case .set(_, false), .move: Gate.Work(event: event, step: .apply)
    default: nil
    }
  }
}
