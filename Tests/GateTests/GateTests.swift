// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

@Suite struct GateTests {
  private static let conditions: [Gate.Condition] = [
    .memoryEnabled, .fullPower, .outOfReset, .alive, .connected,
  ]

  @Test("all windows begin closed even if all conditions hold")
  func beginsClosed() {
    let gate = Gate(bars: [0, 0, 2], conditions: .all)
    #expect(gate.states == [.closed, .closed, .closed])
  }

  @Test("removes every slot and IOVA before a clearing COMMAND is written")
  func closes() {
    var gate = Gate.open(0, 2)
    let effects = gate.effects(of: .set(.memoryEnabled, false))
    let expected: [Gate.Effect] = [
      .removeSlots(0..<1), .removeSlots(2..<3), .removeIOVAs(0..<1), .removeIOVAs(2..<3),
      .changed(0, from: .open, to: .closed), .changed(1, from: .armed, to: .closed),
      .changed(2, from: .open, to: .closed), .changed(3, from: .armed, to: .closed), .apply,
    ]
    #expect(effects == expected)
    #expect(gate.states == [.closed, .closed, .closed, .closed])
    #expect(!gate.isEffective)
  }

  @Test("arms windows after a setting COMMAND is written and read back, and maps nothing")
  func arms() {
    var gate = Gate(bars: [0, 1], conditions: .initial)
    let effects = gate.effects(of: .set(.memoryEnabled, true))
    let expected: [Gate.Effect] = [
      .apply, .readBack, .changed(0, from: .closed, to: .armed), .changed(1, from: .closed, to: .armed),
    ]
    #expect(effects == expected)
  }

  @Test("the first access maps a window's slot and then its IOVA; the second has no effect")
  func opens() {
    var gate = Gate.armed()
    let expected: [Gate.Effect] = [
      .addSlot(1..<2), .changed(1, from: .armed, to: .open), .addIOVA(1..<2, .open),
    ]
    #expect(gate.effects(ofTouch: 1) == expected)
    #expect(gate.states == [.armed, .open, .armed, .armed])
    #expect(gate.effects(ofTouch: 1) == [])
  }

  @Test("an access only makes its window due; the window opens between two instructions if it is still armed")
  func opensLater() {
    var gate = Gate.armed()
    #expect(gate.effects(of: .open) == [])
    #expect(gate.effects(of: .access(window: 1)) == [])
    #expect(gate.effects(of: .access(window: 3)) == [])
    #expect(gate.isOpeningDue && gate.isDue == [false, true, false, true])
    var closed = gate
    _ = closed.effects(of: .set(.memoryEnabled, false))
    #expect(!closed.isOpeningDue && closed.isDue == [false, false, false, false])
    _ = closed.effects(of: .set(.memoryEnabled, true))
    #expect(closed.effects(of: .open) == [])
    #expect(
      gate.effects(of: .open) == [
        .addSlot(1..<2), .changed(1, from: .armed, to: .open), .addIOVA(1..<2, .open),
        .addSlot(3..<4), .changed(3, from: .armed, to: .open), .addIOVA(3..<4, .open),
      ])
    #expect(!gate.isOpeningDue && gate.isDue == [false, false, false, false])
  }

  @Test("an early policy makes windows due, which open between two instructions")
  func policyOpensLater() {
    var gate = Gate(
      bars: [0, 2], conditions: .initial, cpuPolicy: .eager, peerPolicy: .onEnable)
    #expect(
      gate.effects(of: .set(.memoryEnabled, true)).suffix(2)
        == [.addIOVA(0..<1, .enable), .addIOVA(1..<2, .enable)])
    #expect(gate.isDue == [true, true])
    _ = gate.effects(of: .open)
    #expect(gate.states == [.open, .open])
    _ = gate.effects(of: .move(bar: 2))
    #expect(gate.isDue == [false, true])
  }

  @Test("a move unmaps only the windows of its BAR and leaves them armed")
  func moves() {
    var gate = Gate.open(0, 1, 2)
    let effects = gate.effects(of: .move(bar: 0))
    let expected: [Gate.Effect] = [
      .removeSlots(0..<1), .removeSlots(1..<2), .removeIOVAs(0..<1), .removeIOVAs(1..<2),
      .changed(0, from: .open, to: .armed), .changed(1, from: .open, to: .armed), .apply,
    ]
    #expect(effects == expected)
    #expect(gate.states == [.armed, .armed, .open, .armed])
  }

  @Test("a demotion unmaps all open windows and writes nothing")
  func demotes() {
    var gate = Gate.open(1, 3)
    let expected: [Gate.Effect] = [
      .removeSlots(1..<2), .removeSlots(3..<4), .removeIOVAs(1..<2), .removeIOVAs(3..<4),
      .changed(1, from: .open, to: .armed), .changed(3, from: .open, to: .armed),
    ]
    #expect(gate.effects(of: .demote) == expected)
    #expect(gate.effects(of: .demote) == [])
    #expect(gate.isEffective)
  }

  @Test("every event has its effects in the correct order for every set of open windows")
  func order() {
    var events: [Gate.Event] = [
      .move(bar: 0), .move(bar: 2), .demote, .access(window: 0), .access(window: 3), .open,
    ]
    for condition in Self.conditions { events += [.set(condition, false), .set(condition, true)] }
    for event in events {
      for mask in 0..<16 {
        let open = Set((0..<4).filter { mask & 1 << $0 != 0 })
        var gate = Gate.armed()
        for window in open.sorted() { _ = gate.effects(ofTouch: window) }
        let effects = gate.effects(of: event)
        #expect(orderProblem(event, bars: gate.bars, open: open, effects: effects) == nil, "\(event)")
      }
    }
  }

  @Test("the order check detects a reversed order")
  func reversedOrder() {
    for event in [Gate.Event.set(.memoryEnabled, false), .set(.outOfReset, false), .move(bar: 0)] {
      var gate = Gate.open(0)
      let effects = gate.effects(of: event)
      // The order of other VMMs: the device first, the mappings afterwards.
      let reversed = [.apply] + effects.filter { $0 != .apply }
      #expect(orderProblem(event, bars: gate.bars, open: [0], effects: effects) == nil)
      #expect(
        orderProblem(event, bars: gate.bars, open: [0], effects: reversed)
          == "the device is written while windows [0] are mapped")
    }
    let effects: [Gate.Effect] = [
      .removeIOVAs(0..<1), .removeSlots(0..<1), .changed(0, from: .open, to: .armed),
    ]
    #expect(
      orderProblem(.demote, bars: [0], open: [0], effects: effects)
        == "the IOVA of window 0 is removed before its slot")
  }

  @Test("no window opens while a condition is missing", arguments: conditions)
  func missing(_ condition: Gate.Condition) {
    var gate = Gate.open(0)
    _ = gate.effects(of: .set(condition, false))
    for window in 0..<4 { #expect(gate.effects(ofTouch: window) == []) }
    for other in Self.conditions where other != condition {
      #expect(gate.effects(of: .set(other, true)) == [.apply])
    }
    #expect(gate.states == [.closed, .closed, .closed, .closed])
    _ = gate.effects(of: .set(condition, true))
    #expect(gate.states == [.armed, .armed, .armed, .armed])
  }

  @Test("only the last missing condition arms windows")
  func lastCondition() {
    var gate = Gate(bars: [0], conditions: [.alive, .connected])
    #expect(gate.effects(of: .set(.memoryEnabled, true)) == [.apply])
    #expect(gate.effects(of: .set(.outOfReset, true)) == [.apply])
    #expect(
      gate.effects(of: .set(.fullPower, true))
        == [.apply, .readBack, .changed(0, from: .closed, to: .armed)])
  }

  @Test("a span reopens at one touch with one slot and one IOVA, and closes with one call")
  func neighbours() {
    var gate = Gate.neighbours()
    let closing = gate.effects(of: .set(.memoryEnabled, false)).prefix(4)
    #expect(closing == [.removeSlots(0..<3), .removeSlots(4..<5), .removeIOVAs(0..<3), .removeIOVAs(4..<5)])
    _ = gate.effects(of: .set(.memoryEnabled, true))
    #expect(
      gate.effects(ofTouch: 1) == [
        .addSlot(0..<3), .changed(0, from: .armed, to: .open), .changed(1, from: .armed, to: .open),
        .changed(2, from: .armed, to: .open), .addIOVA(0..<3, .open),
      ])
    #expect(gate.states == [.open, .open, .open, .armed, .armed])
    #expect(gate.effects(ofTouch: 2) == [])
  }

  @Test("a window that was not open at the last close opens alone")
  func strangers() {
    var gate = Gate.neighbours()
    _ = gate.effects(of: .move(bar: 0))
    #expect(gate.effects(ofTouch: 3).first == .addSlot(3..<4))
    // Disabling and enabling without a touch keeps the BAR's record, in which only its last window was open.
    for isOn in [false, true, false, true] { _ = gate.effects(of: .set(.memoryEnabled, isOn)) }
    #expect(gate.wasOpenAtClose == [false, false, false, true, false])
    #expect(gate.effects(ofTouch: 2).first == .addSlot(2..<3))
  }

  @Test("adjoining windows become reachable through one IOVA at enable")
  func reachTogether() {
    var gate = Gate(
      bars: [0, 0, 0, 2], adjoins: [false, true, false, true], conditions: .initial,
      peerPolicy: .onEnable)
    let effects = gate.effects(of: .set(.memoryEnabled, true))
    #expect(
      effects.suffix(3) == [.addIOVA(0..<2, .enable), .addIOVA(2..<3, .enable), .addIOVA(3..<4, .enable)])
  }
}
