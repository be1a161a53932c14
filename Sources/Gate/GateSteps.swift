// SPDX-License-Identifier: Apache-2.0

/// The effects of an event, one after the other.
extension Gate {
  /// The work that is left of an event.
  struct Work: Hashable {
    let event: Event
    var step: Step
    /// True if the function answered before the event.
    var wasEffective = false
  }

  /// A step of the work. One with `from` goes through the windows, from that one on.
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
    /// Maps what the policies map without an access.
    case map
    case reach(from: Int)
    case open(from: Int)
    /// A slot for a run has been asked for, because of one of its windows.
    case addedSlot(Range<Int>, for: Int)
    case opened(Range<Int>, for: Int, next: Int)
  }

  /// Begins an event. ``next(_:)`` returns its effects; ``end()`` follows, also after an effect that failed.
  ///
  /// - Precondition: No other event has begun: an event within an event would lose the rest of the outer one.
  public mutating func begin(_ event: Event) {
    precondition(work == nil, "an event begins within another one")
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

  // Nothing here makes an array of windows, so that an exit does not allocate.

  /// Ends an event: effects that are left are not performed. ``states`` has the changes that were made.
  public mutating func end() { work = nil }

  /// Returns the next effect of the event that has begun, or nil when none is left.
  ///
  /// - Parameter result: The result of the effect before; it matters for `readBack` and `addSlot`.
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
          if current.closes { isOpeningDue = false }
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
          // What was read is the memory bit: that is the condition which does not hold, and the one
          // that a guest can set again, whichever event it was that asked.
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

  /// The state of a window that has been unmapped changes.
  private mutating func unmapped(_ window: Int, _ work: Work) -> Effect? {
    if work.closes {
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

  /// Makes armed windows due as the policy says, although no access has come.
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
            let span = cpuPolicy(with: window)
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
        // There may be room for the one, where the guest has put something else over its neighbour.
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

  /// Takes an event and has its effects performed, in order.
  ///
  /// - Parameter perform: Does one effect. What it returns counts for `readBack` and `addSlot`; what
  ///   it throws ends the event, with the states saying what has been done so far.
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
  /// The BAR whose windows the event is about; nil stands for all of them.
  var bar: Int? { if case .move(let bar) = event { bar } else { nil } }

  /// True if the windows that are unmapped are closed; else they stay armed.
  var closes: Bool { if case .set = event { true } else { false } }

  var trigger: Gate.MapTrigger { if case .move = event { .move } else { .enable } }

  /// The work after windows have been unmapped; nil for none.
  var afterChange: Gate.Work? {
    switch event {
    case .set(_, false), .move: Gate.Work(event: event, step: .apply)
    default: nil
    }
  }
}
