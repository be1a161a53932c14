// SPDX-License-Identifier: Apache-2.0

@testable import Gate

/// Returns the first error in the order of an event's effects, or nil if the order is correct. It knows only
/// which windows were open before the event.
func orderProblem(
  _ event: Gate.Event, bars: [Int], open: Set<Int>, effects: [Gate.Effect]
) -> String? {
  var slots = open
  var addresses = open
  var isApplied = false
  for effect in effects {
    switch effect {
    case .removeSlots(let span): slots.subtract(span)
    case .removeIOVAs(let span):
      if let window = span.first(where: slots.contains) {
        return "the IOVA of window \(window) is removed before its slot"
      }
      addresses.subtract(span)
    case .apply:
      if isApplied { return "the device is written twice" }
      isApplied = true
      let mapped = slots.union(addresses).filter { isDisabled(by: event, bar: bars[$0]) }
      if !mapped.isEmpty { return "the device is written while windows \(mapped.sorted()) are mapped" }
    case .readBack: if !isApplied { return "read back before the device is written" }
    case .addSlot(let span): slots.formUnion(span)
    case .addIOVA(let span, let trigger):
      if trigger == .open, let window = span.first(where: { !slots.contains($0) }) {
        return "the IOVA of window \(window) is added before its slot"
      }
      addresses.formUnion(span)
    case .changed(let window, _, let to):
      if (to == .open) != slots.contains(window) { return "window \(window) is reported as \(to)" }
      if to != .open, addresses.contains(window) { return "window \(window) is \(to) with an IOVA" }
    }
  }
  switch event {
  case .set, .move: return isApplied ? nil : "the device is not written"
  case .access, .open, .demote: return isApplied ? "the device is written" : nil
  }
}

private func isDisabled(by event: Gate.Event, bar: Int) -> Bool {
  switch event {
  case .set(_, let on): !on
  case .move(let moved): bar == moved
  case .access, .open, .demote: false
  }
}

extension Gate {
  /// Handles an event and returns its effects.
  ///
  /// - Parameter refused: The effects that fail.
  mutating func effects(of event: Event, refusing refused: Set<Effect> = []) -> [Effect] {
    var effects: [Effect] = []
    handle(event) { effect in
      effects.append(effect)
      return !refused.contains(effect)
    }
    return effects
  }

  /// Handles an access and the next `open` event, and returns the effects.
  mutating func effects(ofTouch window: Int, refusing refused: Set<Effect> = []) -> [Effect] {
    effects(of: .access(window: window), refusing: refused) + effects(of: .open, refusing: refused)
  }

  /// Returns a gate of four armed windows in two BARs.
  static func armed() -> Gate {
    var gate = Gate(bars: [0, 0, 2, 2], conditions: .initial)
    _ = gate.effects(of: .set(.memoryEnabled, true))
    return gate
  }

  /// Returns a gate of two BARs. The first has four adjoining windows, of which the first three are open. The
  /// second has one open window.
  static func neighbours() -> Gate {
    var gate = Gate(
      bars: [0, 0, 0, 0, 2], adjoins: [false, true, true, true, true],
      conditions: .initial)
    _ = gate.effects(of: .set(.memoryEnabled, true))
    for window in [0, 1, 2, 4] { _ = gate.effects(ofTouch: window) }
    return gate
  }

  /// Returns the gate of ``armed()`` with open windows.
  static func open(_ windows: Int...) -> Gate {
    var gate = armed()
    for window in windows { _ = gate.effects(ofTouch: window) }
    return gate
  }

  /// Returns a gate after an access that makes a window due.
  static func due(_ window: Int, _ gate: Gate) -> Gate {
    var gate = gate
    _ = gate.effects(of: .access(window: window))
    return gate
  }
}
