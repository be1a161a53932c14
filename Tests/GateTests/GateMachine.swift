// SPDX-License-Identifier: Apache-2.0

@testable import Gate

/// The gate under exploration, which may have a fault.
protocol GateMachine: Hashable {
  var states: [Gate.State] { get }
  var conditions: Gate.Condition { get }
  var bars: [Int] { get }
  var adjoins: [Bool] { get }
  var cpuPolicy: MappingPolicy { get }
  var peerPolicy: MappingPolicy { get }
  var isOpeningDue: Bool { get }
  mutating func take(_ event: Gate.Event, _ perform: (Gate.Effect) -> Bool)
}

extension Gate: GateMachine {
  mutating func take(_ event: Event, _ perform: (Effect) -> Bool) { handle(event, perform: perform) }
}

/// A fault that a programmer could introduce into the gate.
enum GateFault: String, CaseIterable {
  case writesBeforeClosing = "the device is written before its windows are unmapped"
  case writesBeforeMoving = "a BAR is moved before its windows are unmapped"
  case keepsSlots = "slots are not removed"
  case keepsIOVA = "IOVAs are not removed"
  case closesFirstOnly = "only the first open window is closed"
  case addressesFirst = "IOVAs are removed before slots"
  case opensClosed = "an access opens a closed window"
  case skipsReadBack = "windows are armed without reading back"
  case readsBackFirst = "the device is read back before it is written"
  case moveKeepsSlots = "a move keeps the slots"
  case moveKeepsIOVA = "a move keeps the IOVAs"
  case movesWrongBar = "a move closes the windows of another BAR"
  case demoteKeepsIOVA = "a demotion keeps the IOVAs"
  case demoteKeepsSlots = "a demotion keeps the slots"
  case ignoresMissingSlot = "a window without a slot has the state open"
  case ignoresPower = "D3hot closes no window"
  case ignoresReset = "a reset closes no window"
  case ignoresPort = "a port that forwards nothing closes no window"
  case losesWrite = "a write that clears does not reach the device"
  case neverArms = "windows are not armed again"
  case opensAtOnce = "windows open before the setting write"
  case addsIOVAOnly = "a window opens without a slot"
  case reportsNothing = "changes are not reported"
  case refusesForGood = "a failed read-back clears the event's condition"
  case armedKeepsIOVA = "the IOVA of an untouched window is not removed"
  case mapsBeforeReadBack = "a policy maps before the device is read back"
  case mapsBeforeMoving = "a policy maps a moved BAR before it is moved"
  case opensUntouched = "an untouched window opens under the policy on-fault"
  case opensNeighbours = "a window opens with untouched neighbours"
  case joinsApart = "windows that do not adjoin get one slot"
  case opensByAccess = "an access opens its window inside the instruction"
  case keepsDue = "a window that was due before it closed opens when it is armed again"
  case removesPart = "the last window of a span keeps its slot"

  /// True if the fault requires a policy that maps early.
  var needsPolicy: Bool {
    self == .armedKeepsIOVA || self == .mapsBeforeReadBack || self == .mapsBeforeMoving
  }

  /// True if the fault requires adjoining windows.
  var needsNeighbours: Bool { self == .opensNeighbours || self == .removesPart }
}

/// The gate with one fault. The fault changes its effects or its state.
struct FaultyGate: GateMachine {
  private var gate: Gate
  let fault: GateFault
  /// The windows that the fault keeps open, the conditions that it removes, and the windows that it makes due
  /// again.
  private var held: Set<Int> = []
  private var lost: Gate.Condition = []
  private var due: Set<Int> = []

  init(_ gate: Gate, _ fault: GateFault) {
    self.gate = gate
    self.fault = fault
  }

  var bars: [Int] { gate.bars }
  var adjoins: [Bool] { gate.adjoins }
  var cpuPolicy: MappingPolicy { gate.cpuPolicy }
  var peerPolicy: MappingPolicy { gate.peerPolicy }
  var isOpeningDue: Bool { gate.isOpeningDue }
  var states: [Gate.State] { gate.states.indices.map { held.contains($0) ? .open : gate.states[$0] } }
  var conditions: Gate.Condition {
    lost.isEmpty ? gate.conditions : gate.conditions.union(.memoryEnabled).subtracting(lost)
  }

  mutating func take(_ event: Gate.Event, _ perform: (Gate.Effect) -> Bool) {
    switch (fault, event) {
    case (.writesBeforeClosing, .set(_, false)), (.writesBeforeMoving, .move):
      _ = perform(.apply)
      gate.take(event) { $0 == .apply || perform($0) }
    case (.addressesFirst, .set(_, false)), (.addressesFirst, .move), (.addressesFirst, .demote):
      takeIOVAsFirst(event, perform)
    case (.opensClosed, .access(let window)) where states[window] == .closed:
      held.insert(window)
      let span = window..<window + 1
      for effect in [.addSlot(span), .addIOVA(span, .open), .changed(window, from: .closed, to: .open)]
        as [Gate.Effect]
      { _ = perform(effect) }
    case (.opensByAccess, .access):
      gate.take(event, perform)
      gate.take(.open, perform)
    case (.keepsDue, .set(_, true)):
      gate.take(event, perform)
      if gate.conditions == .all { for window in due { gate.take(.access(window: window), { _ in true }) } }
      due = []
    case (.keepsDue, .set(_, false)):
      due.formUnion(gate.isDue.indices.filter { gate.isDue[$0] })
      gate.take(event, perform)
    case (.readsBackFirst, .set(_, true)):
      let answer = perform(.readBack)
      gate.take(event) { $0 == .readBack ? answer : perform($0) }
    case (.movesWrongBar, .move(let bar)):
      gate.take(.move(bar: bars.first { $0 != bar } ?? bar), perform)
    case (.ignoresPower, .set(.fullPower, false)), (.ignoresReset, .set(.outOfReset, false)),
      (.ignoresPort, .set(.connected, false)):
      _ = perform(.apply)
    case (.losesWrite, .set(_, false)): gate.take(event) { $0 == .apply || perform($0) }
    case (.neverArms, .set(_, true)):
      var armed = gate
      armed.take(event) { $0 == .readBack ? false : perform($0) }
    case (.opensAtOnce, .set(.memoryEnabled, true)):
      _ = perform(.addSlot(0..<1))
      gate.take(event, perform)
    case (.mapsBeforeReadBack, .set(_, true)), (.mapsBeforeMoving, .move):
      takeWritesLast(event, perform)
    case (.opensUntouched, .set(.memoryEnabled, true)):
      gate.take(event, perform)
      if gate.conditions == .all { gate.take(.access(window: 0), perform) }
    case (.refusesForGood, .set(let condition, true)):
      gate.take(event) { effect in
        let answer = perform(effect)
        if effect == .readBack { lost = answer ? [] : condition }
        return answer
      }
    default: takeFiltered(event, perform)
    }
  }

  /// Performs an event with an effect left out or with another result of an effect.
  private mutating func takeFiltered(_ event: Gate.Event, _ perform: (Gate.Effect) -> Bool) {
    let isMove = if case .move = event { true } else { false }
    var removed = 0
    let open = Set(gate.states.indices.filter { gate.states[$0] == .open })
    gate.take(event) { [fault, bars = gate.bars] effect in
      switch (fault, effect) {
      case (.keepsSlots, .removeSlots), (.keepsIOVA, .removeIOVAs): return true
      case (.moveKeepsSlots, .removeSlots) where isMove: return true
      case (.moveKeepsIOVA, .removeIOVAs) where isMove: return true
      case (.demoteKeepsIOVA, .removeIOVAs) where event == .demote: return true
      case (.armedKeepsIOVA, .removeIOVAs(let span)) where open.isDisjoint(with: span): return true
      case (.demoteKeepsSlots, .removeSlots) where event == .demote: return true
      case (.addsIOVAOnly, .addSlot), (.skipsReadBack, .readBack), (.reportsNothing, .changed): return true
      case (.ignoresMissingSlot, .addSlot):
        _ = perform(effect)
        return true
      case (.closesFirstOnly, .removeSlots):
        removed += 1
        return removed > 1 || perform(effect)
      case (.removesPart, .removeSlots(let span)): return perform(.removeSlots(span.dropLast(span.count / 2)))
      case (.opensNeighbours, .addSlot(let span)):
        let end = bars.lastIndex(of: bars[span.lowerBound]).map { $0 + 1 }
        return perform(.addSlot(span.lowerBound..<(end ?? span.upperBound)))
      case (.joinsApart, .addSlot(let span)):
        return perform(.addSlot(span.lowerBound..<min(span.upperBound + 1, bars.count)))
      default: return perform(effect)
      }
    }
  }

  /// Performs the mapping effects before the device is written and read back.
  private mutating func takeWritesLast(_ event: Gate.Event, _ perform: (Gate.Effect) -> Bool) {
    var later: [Gate.Effect] = []
    gate.take(event) { effect in
      guard effect == .apply || effect == .readBack else { return perform(effect) }
      later.append(effect)
      return true
    }
    for effect in later { _ = perform(effect) }
  }

  /// Performs the removals of IOVAs before the removals of slots.
  private mutating func takeIOVAsFirst(_ event: Gate.Event, _ perform: (Gate.Effect) -> Bool) {
    var slots: [Gate.Effect] = []
    gate.take(event) { effect in
      if case .removeSlots = effect {
        slots.append(effect)
        return true
      }
      if case .removeIOVAs = effect { return perform(effect) }
      for slot in slots { _ = perform(slot) }
      slots = []
      return perform(effect)
    }
  }
}
