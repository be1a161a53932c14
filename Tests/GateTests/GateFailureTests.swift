// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

/// What the gate makes of effects that do not succeed.
@Suite struct GateFailureTests {
  private struct Refused: Error, Equatable {}

  @Test("a device that does not answer when read back stays closed, and a later set arms it")
  func readBack() {
    var gate = Gate(bars: [0], conditions: [.fullPower, .outOfReset, .alive])
    let effects = gate.effects(of: .set(.memoryEnabled, true), refusing: [.readBack])
    #expect(effects == [.apply, .readBack])
    #expect(gate.states == [.closed])
    #expect(!gate.isEffective)
    #expect(gate.effects(ofTouch: 0) == [])
    _ = gate.effects(of: .set(.memoryEnabled, true))
    #expect(gate.states == [.armed])
  }

  @Test(
    "after a reset or D3hot it is the memory bit that is missing, which a guest can set again",
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

  @Test("a device that stops answering under open windows loses them")
  func readBackWhileOpen() {
    var gate = Gate.open(1)
    let effects = gate.effects(of: .set(.memoryEnabled, true), refusing: [.readBack])
    #expect(effects.contains(.removeSlots(1..<2)) && effects.contains(.removeIOVAs(1..<2)))
    #expect(gate.states == [.closed, .closed, .closed, .closed])
  }

  @Test("a window that gets no slot stays armed and asks for a slot by the next access")
  func noSlot() {
    var gate = Gate.armed()
    #expect(gate.effects(ofTouch: 2, refusing: [.addSlot(2..<3)]) == [.addSlot(2..<3)])
    #expect(gate.states[2] == .armed)
    _ = gate.effects(ofTouch: 2)
    #expect(gate.states[2] == .open)
  }

  @Test("a window that gets no IOVA is open all the same")
  func noIOVA() {
    var gate = Gate.armed()
    _ = gate.effects(ofTouch: 0, refusing: [.addIOVA(0..<1, .open)])
    #expect(gate.states[0] == .open)
  }

  /// Breaks an event off at each of its effects in turn: afterwards nothing stands of a window that
  /// is not said to be open, and the event can be had again.
  private func breakOff(_ event: Gate.Event, _ start: Gate) {
    var whole = start
    let count = whole.effects(of: event).count
    for point in 0..<count {
      var gate = start
      var standing = Set(start.states.indices.filter { start.states[$0] == .open })
      var done = 0
      var wasApplied = false
      func perform(_ effect: Gate.Effect) throws(Refused) -> Bool {
        if done == point { throw Refused() }
        done += 1
        switch effect {
        case .addSlot(let span): standing.formUnion(span)
        case .removeIOVAs(let span): standing.subtract(span)
        case .apply: wasApplied = true
        default: break
        }
        return true
      }
      #expect(throws: Refused()) { try gate.handle(event, perform: perform) }
      for window in standing {
        #expect(gate.states[window] == .open, "\(event) broken off at \(point): window \(window)")
      }
      if case .set(_, false) = event {
        #expect(!wasApplied)
        #expect(!gate.isEffective, "nothing opens after a close that did not succeed")
        _ = gate.effects(of: event)
        #expect(gate == whole)
      }
    }
  }

  @Test("an event that is broken off leaves the states true to what has been done")
  func brokenOff() {
    breakOff(.set(.memoryEnabled, false), .open(0, 1, 3))
    breakOff(.set(.alive, false), .open(2))
    breakOff(.move(bar: 0), .open(0, 1, 2))
    breakOff(.demote, .open(0, 3))
    breakOff(.open, .due(1, .armed()))
    breakOff(.open, .due(1, .open(0)))
    var neighbours = Gate.neighbours()
    breakOff(.set(.memoryEnabled, false), neighbours)
    breakOff(.demote, neighbours)
    _ = neighbours.effects(of: .demote)
    breakOff(.open, .due(1, neighbours))
  }

  @Test("where neighbours do not get one slot the one that is touched gets its own")
  func noSlotForAll() {
    var gate = Gate.neighbours()
    _ = gate.effects(of: .demote)
    #expect(
      gate.effects(ofTouch: 1, refusing: [.addSlot(0..<3)])
        == [
          .addSlot(0..<3), .addSlot(1..<2), .changed(1, from: .armed, to: .open), .addIOVA(1..<2, .open),
        ])
    #expect(gate.states == [.armed, .open, .armed, .armed, .armed])
    // The next one finds no neighbour that could come with it.
    #expect(gate.effects(ofTouch: 0).first == .addSlot(0..<1))
  }

  @Test("an event cannot begin within another one, and can after its end")
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
    #expect(gate.next(true) == nil, "effects that are left are not performed")
    #expect(gate.states[0] == .open, "the state has no change that was not made")
    #expect(gate.effects(of: .set(.memoryEnabled, false)).first == .removeSlots(0..<1))
  }

  @Test("a setting event whose write fails arms nothing")
  func writeFails() {
    var gate = Gate(bars: [0], conditions: [.fullPower, .outOfReset, .alive])
    let perform: (Gate.Effect) throws(Refused) -> Bool = { effect throws(Refused) in
      if effect == .apply { throw Refused() }
      return true
    }
    #expect(throws: Refused()) { try gate.handle(.set(.memoryEnabled, true), perform: perform) }
    #expect(gate.states == [.closed])
    #expect(!gate.isEffective)
  }
}
