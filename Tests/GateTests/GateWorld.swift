// SPDX-License-Identifier: Apache-2.0

@testable import Gate

/// A guest with two vCPUs, a device and what stands between them: all that the gate's effects act on.
/// Every step checks the invariants; the first that is broken is kept.
struct GateWorld<Machine: GateMachine>: Hashable {
  /// Where a vCPU is.
  enum VCPUThread: Hashable {
    /// In the guest.
    case running
    /// Out of it, for an access to a window that had no slot.
    case trapped(Int)
    /// The access has been served; KVM has not completed the instruction, which may have further accesses.
    case inside
    /// Out of it, for a bare -EFAULT; stale once the gate's generation has changed since it ran.
    case faulted(isStale: Bool)
    /// The same, having seen that the generation is the one that it ran under.
    case demoting(isStale: Bool)

    var rank: Int {
      switch self {
      case .running: 0
      case .inside: 1
      case .faulted(let isStale): isStale ? 2 : 3
      case .demoting(let isStale): isStale ? 4 : 5
      case .trapped(let window): 6 + window
      }
    }
  }

  /// What can happen next. The last parameter is true if KVM has room for a slot, or the device
  /// takes the memory bit.
  enum Step: Hashable {
    case touch(cpu: Int, window: Int)
    case resume(cpu: Int)
    case complete(cpu: Int)
    case open(Bool)
    case memory(Bool, Bool)
    case power(Bool, Bool)
    case beginReset
    case endReset(Bool)
    case move(bar: Int)
    case disabledOutside
    case lost
  }

  private(set) var machine: Machine
  private(set) var cpus: [VCPUThread] = [.running, .running]
  /// Windows with a slot, and with an IOVA in each of two containers; a bit for each.
  private(set) var slots: UInt8 = 0
  private(set) var addresses: [UInt8] = [0, 0]
  /// Windows that a vCPU has touched at any time; kept only if windows adjoin.
  private(set) var touched: UInt8 = 0
  /// Windows that a vCPU has touched and that have not opened or closed since; kept only for on-fault.
  private(set) var touchedNow: UInt8 = 0
  /// The device: its memory bit, and whether it has been cleared behind the gate's back.
  private(set) var memoryBit = false
  private(set) var isDisabledOutside = false
  /// What the guest has asked for.
  private(set) var wantsMemory = false
  private(set) var isPowered = true
  private(set) var isResetting = false
  private(set) var isAlive = true
  /// Whether the device takes a memory bit that is written.
  private var isWilling = true
  /// The device did not answer when it was read back.
  private(set) var wasRefused = false
  /// The first broken invariant.
  private(set) var problem: String?

  init(_ machine: Machine) { self.machine = machine }

  private var isAnswering: Bool { memoryBit && isPowered && !isResetting && isAlive }
  private var isWanted: Bool { wantsMemory && isPowered && !isResetting && isAlive }
  /// The configuration space takes the guest's writes.
  private var hasConfig: Bool { machine.conditions.isSuperset(of: [.outOfReset, .alive]) }
  /// Every window is open.
  var isOpen: Bool { machine.states.allSatisfy { $0 == .open } }

  /// The steps that are possible here. The host opens windows while no vCPU is inside an instruction.
  func steps(_ host: HostFault?) -> [Step] {
    var steps: [Step] = []
    for cpu in cpus.indices {
      switch cpus[cpu] {
      case .running: steps += machine.bars.indices.map { .touch(cpu: cpu, window: $0) }
      case .inside: steps += [.complete(cpu: cpu)] + machine.bars.indices.map { .touch(cpu: cpu, window: $0) }
      case .trapped, .faulted, .demoting: steps.append(.resume(cpu: cpu))
      }
    }
    if machine.isOpeningDue, isBetweenInstructions || host == .opensInside {
      steps += [.open(true), .open(false)]
    }
    if isResetting { steps += [.endReset(true), .endReset(false)] }
    if isAlive { steps.append(.lost) }
    if memoryBit, isAlive { steps.append(.disabledOutside) }
    guard hasConfig else { return steps }
    steps += wantsMemory ? [.memory(false, true)] : [.memory(true, true), .memory(true, false)]
    steps += isPowered ? [.power(false, true)] : [.power(true, true), .power(true, false)]
    steps += Set(machine.bars).sorted().map { .move(bar: $0) }
    steps.append(.beginReset)
    return steps
  }

  private mutating func require(_ holds: Bool, _ text: @autoclosure () -> String) {
    if !holds, problem == nil { problem = text() }
  }

  /// Takes a step. The vCPUs are alike, so worlds that differ by their order are one.
  ///
  /// - Parameter host: Faults outside of the gate: a container or the generation that is forgotten.
  mutating func take(_ step: Step, host: HostFault? = nil) {
    defer { if cpus[0].rank > cpus[1].rank { cpus.swapAt(0, 1) } }
    switch step {
    case .touch(let cpu, let window): touch(cpu, window)
    case .resume(let cpu): resume(cpu, host)
    case .complete(let cpu): cpus[cpu] = .running
    case .open(let answer):
      handle(.open, answer, host) { _ in }
    case .memory(let on, let answer):
      wantsMemory = on
      handle(.set(.memoryEnabled, on), answer, host) { $0.writeMemoryBit() }
    case .power(let on, let answer):
      handle(.set(.fullPower, on), answer, host) { world in
        world.isPowered = on
        if on { world.writeMemoryBit() }
      }
    case .beginReset:
      handle(.set(.outOfReset, false), true, host) { _ in }
      isResetting = true
      memoryBit = false
    case .endReset(let answer):
      isPowered = true
      handle(.set(.fullPower, true), answer, host) { _ in }
      handle(.set(.outOfReset, true), answer, host) { world in
        world.isResetting = false
        world.writeMemoryBit()
      }
    case .move(let bar): handle(.move(bar: bar), true, host) { _ in }
    case .disabledOutside:
      memoryBit = false
      isDisabledOutside = true
    case .lost: handle(.set(.alive, false), true, host) { $0.isAlive = false }
    }
  }

  private var isBetweenInstructions: Bool {
    cpus.allSatisfy { cpu in
      switch cpu {
      case .running, .faulted, .demoting: true
      case .trapped, .inside: false
      }
    }
  }

  private mutating func writeMemoryBit() {
    memoryBit = wantsMemory && isWilling
    isDisabledOutside = false
  }

  private mutating func touch(_ cpu: Int, _ window: Int) {
    guard slots & 1 << window != 0 else { return cpus[cpu] = .trapped(window) }
    if isAnswering { return }
    require(isDisabledOutside, "a vCPU reaches window \(window) of a disabled device")
    cpus[cpu] = .faulted(isStale: false)
  }

  private mutating func resume(_ cpu: Int, _ host: HostFault?) {
    let before = cpus[cpu]
    cpus[cpu] = .running
    switch before {
    case .running, .inside: break
    case .faulted(let isStale): if !isStale { cpus[cpu] = .demoting(isStale: false) }
    case .demoting(let isStale):
      // Another vCPU may have closed the window since: that is asked once more.
      require(
        machine.states.contains(.open) || isStale && host != .asksOnce,
        "an -EFAULT that no window explains ends the VM")
      handle(.demote, true, host) { _ in }
    case .trapped(let window):
      cpus[cpu] = .inside
      let isLetThrough = machine.conditions == .all
      if !isLetThrough { require(!isWanted || wasRefused, "an access to an enabled window is lost") }
      if isLetThrough, !isAnswering {
        require(isDisabledOutside, "an access is let through to a disabled device")
        break
      }
      handle(.access(window: window), true, host) { _ in }
    }
  }

  /// Runs an event through the machine, performs its effects on this world and checks each.
  private mutating func handle(
    _ event: Gate.Event, _ answer: Bool, _ host: HostFault?, write: (inout GateWorld) -> Void
  ) {
    isWilling = answer
    defer { isWilling = true }
    var states = machine.states
    var writes = 0
    var hasClosed = false
    let hasNeighbours = machine.adjoins.contains(true)
    if case .access(let window) = event {
      if hasNeighbours { touched |= 1 << window }
      if states[window] == .armed, machine.cpuPolicy == .onFault { touchedNow |= 1 << window }
    }
    let isBetweenInstructions = isBetweenInstructions
    let bars = machine.bars
    let adjoins = machine.adjoins
    let cpuPolicy = machine.cpuPolicy
    // Exclusive access: the machine is away while it works on the world.
    var machine = machine
    machine.take(event) { effect in
      switch effect {
      case .removeSlots(let span): for window in span { slots &= ~(1 << window) }
      case .removeIOVAs(let span):
        for window in span {
          require(slots & 1 << window == 0, "the IOVA of window \(window) goes before its slot")
          addresses[0] &= ~(1 << window)
          if host != .forgetsContainer { addresses[1] &= ~(1 << window) }
        }
      case .apply:
        writes += 1
        for window in bars.indices where event.disables(bars[window]) {
          require(
            (slots | addresses[0] | addresses[1]) & 1 << window == 0,
            "\(event) is applied while window \(window) stands")
        }
        write(&self)
      case .readBack:
        require(writes == 1, "read back before the device is written")
        wasRefused = !isAnswering
        return !wasRefused
      case .addSlot(let span):
        for window in span {
          require(isAnswering || isDisabledOutside, "window \(window) opens while the device is disabled")
          require(slots & 1 << window == 0, "window \(window) gets a second slot")
          require(isBetweenInstructions, "window \(window) opens while a vCPU is inside an instruction")
          require(event == .open, "window \(window) opens at \(event)")
          require(
            cpuPolicy != .onFault || (touched | touchedNow) & 1 << window != 0,
            "window \(window) opens and has not been touched")
          require(
            window == span.lowerBound || adjoins[window],
            "window \(window) shares a slot with one that it does not adjoin")
          if event.isWritten { require(writes == 1, "window \(window) opens before \(event) is written") }
          if answer { slots |= 1 << window }
        }
        return answer
      case .addIOVA(let span, let trigger):
        for window in span {
          require(
            trigger != .open || slots & 1 << window != 0, "window \(window) gets an IOVA and has no slot")
          require(
            isAnswering || isDisabledOutside, "window \(window) gets an IOVA while the device is disabled")
          require(trigger != .move || writes == 1, "window \(window) gets an IOVA before its BAR is moved")
          // The first container is as early as the policy has it, the second waits for the touch.
          addresses[0] |= 1 << window
          if trigger == .open { addresses[1] |= 1 << window }
        }
      case .changed(let window, let from, let to):
        require(states[window] == from, "window \(window) is told to come from \(from)")
        states[window] = to
        touchedNow &= ~(1 << window)
        if from == .open { hasClosed = true }
      }
      require(slots == 0 || isAnswering || isDisabledOutside, "a slot stands while the device is disabled")
      return true
    }
    self.machine = machine
    if hasClosed, host != .forgetsGeneration {
      for cpu in cpus.indices {
        switch cpus[cpu] {
        case .faulted: cpus[cpu] = .faulted(isStale: true)
        case .demoting: cpus[cpu] = .demoting(isStale: true)
        case .running, .trapped, .inside: break
        }
      }
    }
    require(writes == (event.isWritten ? 1 : 0), "\(event) is written \(writes) times")
    require(states == machine.states, "\(event): the changes told are not those made")
    checkStates()
  }

  private mutating func checkStates() {
    for (window, state) in machine.states.enumerated() {
      let bit: UInt8 = 1 << window
      require((state == .open) == (slots & bit != 0), "window \(window) is \(state), its slot says otherwise")
      for container in addresses.indices where addresses[container] & bit != 0 {
        let isEarly = container == 0 && machine.peerPolicy != .onFault && state == .armed
        require(
          state == .open || isEarly, "window \(window) is \(state) and has an IOVA in container \(container)")
      }
      require((state == .closed) == (machine.conditions != .all), "window \(window) is \(state) wrongly")
    }
  }
}

/// A fault of what performs the gate's effects.
enum HostFault: String, CaseIterable {
  case forgetsContainer = "an IOVA stays in a second container"
  case forgetsGeneration = "the generation is not advanced"
  case asksOnce = "the generation is asked only before the demotion"
  case opensInside = "windows open while a vCPU is inside an instruction"
}

extension Gate.Event {
  fileprivate func disables(_ bar: Int) -> Bool {
    switch self {
    case .set(_, let on): !on
    case .move(let moved): moved == bar
    case .access, .open, .demote: false
    }
  }

  fileprivate var isWritten: Bool {
    switch self {
    case .set, .move: true
    case .access, .open, .demote: false
    }
  }
}
