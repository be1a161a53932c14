// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

/// The gate's handling of failed effects.
@Suite struct GateFailureTests {
  private struct Refused: Error, Equatable {}

  @Test("a device that fails the read-back stays closed, and a later set arms it")
  func readBack() {
    var gate = Gate(bars: [0], conditions: .initial)
    let effects = gate.effects(of: .set(.memoryEnabled, true), refusing: [.readBack])
    #expect(effects == [.apply, .readBack])
    #expect(gate.states == [.closed])
    #expect(!gate.isEffective)
    #expect(gate.effects(ofTouch: 0) == [])
    _ = gate.effects(of: .set(.memoryEnabled, true))
    #expect(gate.states == [.armed])
  }

  @Test(
    "a failed read-back after a reset or D3hot clears the memory bit, which a guest can set again",
    arguments: [Gate.Condition.outOfReset, .fullPower])
  func readBackLater(_ condition: Gate.Condition) {
    var gate = Gate.open(0)
    _ = gate.effects(of: .set(condition, false))
    _ = gate.effects(of: .set(condition, true), refusing: [.readBack])
    #expect(gate.states == [.closed, .closed, .closed, .closed])
    #expect(gate.conditions == Gate.Condition.all.subtracting(.memoryEnabled))
    _ = gate.effects(of: .set(.memoryEnabled, true))
    #expect(gate.states == [.armed, .armed, .armed, .armed])
  }

  @Test("a failed read-back closes open windows")
  func readBackWhileOpen() {
    var gate = Gate.open(1)
    let effects = gate.effects(of: .set(.memoryEnabled, true), refusing: [.readBack])
    #expect(effects.contains(.removeSlots(1..<2)) && effects.contains(.removeIOVAs(1..<2)))
    #expect(gate.states == [.closed, .closed, .closed, .closed])
  }

  @Test("a window without a slot stays armed and requests a slot at the next access")
  func noSlot() {
    var gate = Gate.armed()
    #expect(gate.effects(ofTouch: 2, refusing: [.addSlot(2..<3)]) == [.addSlot(2..<3)])
    #expect(gate.states[2] == .armed)
    _ = gate.effects(ofTouch: 2)
    #expect(gate.states[2] == .open)
  }

  @Test("a window opens even if its IOVA fails")
  func noIOVA() {
    var gate = Gate.armed()
    _ = gate.effects(ofTouch: 0, refusing: [.addIOVA(0..<1, .open)])
    #expect(gate.states[0] == .open)
  }

  /// Aborts an event at each of its effects in turn. Afterwards every window that is still mapped has the state
  /// `open`, and a closing event can be repeated.
  private func abort(_ event: Gate.Event, _ start: Gate) {
    var whole = start
    let count = whole.effects(of: event).count
    for point in 0..<count {
      var gate = start
      var mapped = Set(start.states.indices.filter { start.states[$0] == .open })
      var done = 0
      var wasApplied = false
      func perform(_ effect: Gate.Effect) throws(Refused) -> Bool {
        if done == point { throw Refused() }
        done += 1
        switch effect {
        case .addSlot(let span): mapped.formUnion(span)
        case .removeIOVAs(let span): mapped.subtract(span)
        case .apply: wasApplied = true
        default: break
        }
        return true
      }
      #expect(throws: Refused()) { try gate.handle(event, perform: perform) }
      for window in mapped {
        #expect(gate.states[window] == .open, "\(event) aborted at \(point): window \(window)")
      }
      if case .set(_, false) = event {
        #expect(!wasApplied)
        #expect(!gate.isEffective, "no window opens after a failed close")
        _ = gate.effects(of: event)
        #expect(gate == whole)
      }
    }
  }

  @Test("states reflect the performed effects after an aborted event")
  func aborted() {
    abort(.set(.memoryEnabled, false), .open(0, 1, 3))
    abort(.set(.alive, false), .open(2))
    abort(.move(bar: 0), .open(0, 1, 2))
    abort(.demote, .open(0, 3))
    abort(.open, .due(1, .armed()))
    abort(.open, .due(1, .open(0)))
    var neighbours = Gate.neighbours()
    abort(.set(.memoryEnabled, false), neighbours)
    abort(.demote, neighbours)
    _ = neighbours.effects(of: .demote)
    abort(.open, .due(1, neighbours))
  }

  @Test("a touched window gets a separate slot if the slot for its span fails")
  func noSlotForAll() {
    var gate = Gate.neighbours()
    _ = gate.effects(of: .demote)
    #expect(
      gate.effects(ofTouch: 1, refusing: [.addSlot(0..<3)])
        == [
          .addSlot(0..<3), .addSlot(1..<2), .changed(1, from: .armed, to: .open), .addIOVA(1..<2, .open),
        ])
    #expect(gate.states == [.armed, .open, .armed, .armed, .armed])
    // The next touched window has no neighbour that can open with it.
    #expect(gate.effects(ofTouch: 0).first == .addSlot(0..<1))
  }

  @Test("an event cannot begin during another event, and can begin after its end")
  func nested() async {
    await #expect(processExitsWith: .failure) {
      var gate = Gate.open(0)
      gate.begin(.set(.memoryEnabled, false))
      gate.begin(.open)
    }
    var gate = Gate.open(0)
    gate.begin(.set(.memoryEnabled, false))
    #expect(gate.next(true) == .removeSlots(0..<1))
    gate.end()
    #expect(gate.next(true) == nil, "the remaining effects are dropped")
    #expect(gate.states[0] == .open, "the state has only the changes that were made")
    #expect(gate.effects(of: .set(.memoryEnabled, false)).first == .removeSlots(0..<1))
  }

  @Test("no window is armed if the write of a setting event fails")
  func writeFails() {
    var gate = Gate(bars: [0], conditions: .initial)
    let perform: (Gate.Effect) throws(Refused) -> Bool = { effect throws(Refused) in
      if effect == .apply { throw Refused() }
      return true
    }
    #expect(throws: Refused()) { try gate.handle(.set(.memoryEnabled, true), perform: perform) }
    #expect(gate.states == [.closed])
    #expect(!gate.isEffective)
  }
}
