// SPDX-License-Identifier: Apache-2.0

@testable import Gate

/// A guest with two vCPUs, a device, and the memory slots and IOVAs between them. The gate's effects act on
/// all of it. Every step checks the invariants. The first broken invariant is kept.
struct GateWorld<Machine: GateMachine>: Hashable {
  /// The state of a vCPU.
  enum VCPUState: Hashable {
    /// In the guest.
    case running
    /// Outside the guest, for an access to a window without a slot.
    case trapped(Int)
    /// The access has been served. KVM has not completed the instruction, which may make further accesses.
    case inside
    /// Outside the guest, for a bare -EFAULT. It is stale if the gate's generation has changed since the
    /// entry.
    case faulted(isStale: Bool)
    /// As `faulted`, after the first check found an unchanged generation.
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

  /// A possible next step. The last parameter is true if KVM has room for a slot or if the device accepts the
  /// memory bit.
  enum Step: Hashable {
    case touch(cpu: Int, window: Int)
    case resume(cpu: Int)
    case complete(cpu: Int)
    case open(Bool)
    case memory(Bool, Bool)
    case power(Bool, Bool)
    case beginReset
    case endReset(Bool)
    case disconnect
    case connect(Bool)
    case move(bar: Int)
    case disabledOutside
    case enabledOutside
    case lost
  }

  private(set) var machine: Machine
  private(set) var cpus: [VCPUState] = [.running, .running]
  /// The windows with a slot, as a bit mask.
  private(set) var slots: UInt8 = 0
  /// The IOVAs in each of two I/O address spaces.
  private(set) var spaces = GateAddressSpaces()
  /// The windows that a vCPU has ever touched. It is kept only if windows adjoin.
  private(set) var touched: UInt8 = 0
  /// The touched windows that have not opened or closed since. It is kept only for on-fault.
  private(set) var touchedNow: UInt8 = 0
  /// The device's memory bit. `isDisabledOutside` is true if it was cleared outside the gate.
  private(set) var memoryBit = false
  private(set) var isDisabledOutside = false
  /// The state that the guest has requested.
  private(set) var wantsMemory = false
  private(set) var isPowered = true
  private(set) var isResetting = false
  private(set) var isAlive = true
  private(set) var isConnected = true
  /// True if the device accepts a written memory bit.
  private var isWilling = true
  /// True if the device failed the last read-back.
  private(set) var wasRefused = false
  /// The first broken invariant.
  private(set) var problem: String?

  init(_ machine: Machine) { self.machine = machine }

  private var isAnswering: Bool { memoryBit && isPowered && !isResetting && isAlive && isConnected }
  private var isWanted: Bool { wantsMemory && isPowered && !isResetting && isAlive && isConnected }
  /// True if the configuration space accepts the guest's writes.
  private var hasConfig: Bool { machine.conditions.isSuperset(of: [.outOfReset, .alive, .connected]) }
  /// True if every window is open.
  var isOpen: Bool { machine.states.allSatisfy { $0 == .open } }

  /// Returns the possible steps. The owner opens windows while no vCPU is inside an instruction.
  func steps(_ fault: OwnerFault?) -> [Step] {
    var steps: [Step] = []
    for cpu in cpus.indices {
      switch cpus[cpu] {
      case .running: steps += machine.bars.indices.map { .touch(cpu: cpu, window: $0) }
      case .inside: steps += [.complete(cpu: cpu)] + machine.bars.indices.map { .touch(cpu: cpu, window: $0) }
      case .trapped, .faulted, .demoting: steps.append(.resume(cpu: cpu))
      }
    }
    if machine.isOpeningDue, isBetweenInstructions || fault == .opensInside {
      steps += [.open(true), .open(false)]
    }
    if isResetting { steps += [.endReset(true), .endReset(false)] }
    if isAlive { steps.append(.lost) }
    steps += isConnected ? [.disconnect] : [.connect(true), .connect(false)]
    if memoryBit, isAlive { steps.append(.disabledOutside) }
    if isDisabledOutside, isAlive { steps.append(.enabledOutside) }
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

  /// Performs a step. The vCPUs are interchangeable, so worlds that differ only in their order are equal.
  ///
  /// - Parameters:
  ///   - step: The step to perform.
  ///   - fault: The fault of the owner, or nil.
  mutating func take(_ step: Step, owner fault: OwnerFault? = nil) {
    defer { if cpus[0].rank > cpus[1].rank { cpus.swapAt(0, 1) } }
    switch step {
    case .touch(let cpu, let window): touch(cpu, window)
    case .resume(let cpu): resume(cpu, fault)
    case .complete(let cpu): cpus[cpu] = .running
    case .open(let answer):
      handle(.open, answer, fault) { _ in }
    case .memory(let on, let answer):
      wantsMemory = on
      handle(.set(.memoryEnabled, on), answer, fault) { $0.writeMemoryBit() }
    case .power(let on, let answer):
      handle(.set(.fullPower, on), answer, fault) { world in
        world.isPowered = on
        if on {
          world.writeMemoryBit()
        } else {
          world.spaces.revoke()
        }
      }
    case .beginReset:
      handle(.set(.outOfReset, false), true, fault) { _ in }
      isResetting = true
      memoryBit = false
      spaces.revoke()
    case .endReset(let answer):
      isPowered = true
      handle(.set(.fullPower, true), answer, fault) { _ in }
      handle(.set(.outOfReset, true), answer, fault) { world in
        world.isResetting = false
        world.writeMemoryBit()
      }
    case .disconnect: handle(.set(.connected, false), true, fault) { $0.isConnected = false }
    case .connect(let answer):
      handle(.set(.connected, true), answer, fault) { world in
        world.isConnected = true
        if !world.isResetting { world.writeMemoryBit() }
      }
    case .move(let bar): handle(.move(bar: bar), true, fault) { _ in }
    case .disabledOutside:
      memoryBit = false
      isDisabledOutside = true
      spaces.revoke()
    case .enabledOutside:
      memoryBit = true
      isDisabledOutside = false
    case .lost: handle(.set(.alive, false), true, fault) { $0.isAlive = false }
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
    if !memoryBit { spaces.revoke() }
  }

  private mutating func touch(_ cpu: Int, _ window: Int) {
    guard slots & 1 << window != 0 else { return cpus[cpu] = .trapped(window) }
    if isAnswering { return }
    require(isDisabledOutside, "a vCPU accesses window \(window) of a disabled device")
    cpus[cpu] = .faulted(isStale: false)
  }

  private mutating func resume(_ cpu: Int, _ fault: OwnerFault?) {
    let before = cpus[cpu]
    cpus[cpu] = .running
    switch before {
    case .running, .inside: break
    case .faulted(let isStale): if !isStale { cpus[cpu] = .demoting(isStale: false) }
    case .demoting(let isStale):
      // Another vCPU may have closed the window since, so the generation is checked again.
      require(
        machine.states.contains(.open) || isStale && fault != .checksOnce,
        "an -EFAULT without an open window ends the VM")
      handle(.demote, true, fault) { _ in }
    case .trapped(let window):
      cpus[cpu] = .inside
      let isForwarded = machine.conditions == .all
      if !isForwarded { require(!isWanted || wasRefused, "an access to an enabled window is lost") }
      if isForwarded, !isAnswering {
        require(isDisabledOutside, "an access is forwarded to a disabled device")
        break
      }
      handle(.access(window: window), true, fault) { _ in }
    }
  }

  /// Handles an event in the machine, performs its effects on this world and checks each.
  private mutating func handle(
    _ event: Gate.Event, _ answer: Bool, _ fault: OwnerFault?, write: (inout GateWorld) -> Void
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
    // A copy, for exclusive access to the world during the event.
    var machine = machine
    machine.take(event) { effect in
      switch effect {
      case .removeSlots(let span): for window in span { slots &= ~(1 << window) }
      case .removeIOVAs(let span):
        for window in span {
          require(slots & 1 << window == 0, "the IOVA of window \(window) is removed before its slot")
          spaces.unmap(window, fault)
        }
      case .apply:
        writes += 1
        for window in bars.indices where event.disables(bars[window]) {
          require(
            slots & 1 << window == 0 && !spaces.isMapped(window),
            "\(event) is applied while window \(window) is mapped")
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
            "window \(window) opens untouched")
          require(
            window == span.lowerBound || adjoins[window],
            "window \(window) shares a slot with a window that it does not adjoin")
          if event.isWritten { require(writes == 1, "window \(window) opens before \(event) is written") }
          if answer { slots |= 1 << window }
        }
        return answer
      case .addIOVA(let span, let trigger):
        for window in span {
          require(
            trigger != .open || slots & 1 << window != 0, "window \(window) gets an IOVA without a slot")
          require(
            isAnswering || isDisabledOutside, "window \(window) gets an IOVA while the device is disabled")
          require(trigger != .move || writes == 1, "window \(window) gets an IOVA before its BAR is moved")
          // The policy of the first I/O address space may map early. The second waits for the touch.
          for space in 0..<(trigger == .open ? 2 : 1) {
            let isFree = spaces.map(window, in: space, isRefused: isDisabledOutside)
            require(isFree, "window \(window) is mapped over its earlier IOVA")
          }
        }
      case .changed(let window, let from, let to):
        require(states[window] == from, "window \(window) is reported as changed from \(from)")
        states[window] = to
        touchedNow &= ~(1 << window)
        if from == .open { hasClosed = true }
      }
      require(slots == 0 || isAnswering || isDisabledOutside, "a slot exists while the device is disabled")
      return true
    }
    self.machine = machine
    if hasClosed, fault != .forgetsGeneration {
      for cpu in cpus.indices {
        switch cpus[cpu] {
        case .faulted: cpus[cpu] = .faulted(isStale: true)
        case .demoting: cpus[cpu] = .demoting(isStale: true)
        case .running, .trapped, .inside: break
        }
      }
    }
    require(writes == (event.isWritten ? 1 : 0), "\(event) is written \(writes) times")
    require(states == machine.states, "\(event): the reported changes differ from the actual changes")
    checkStates()
  }

  private mutating func checkStates() {
    for (window, state) in machine.states.enumerated() {
      let bit: UInt8 = 1 << window
      require((state == .open) == (slots & bit != 0), "window \(window) is \(state), but its slot differs")
      for space in 0...1 where spaces.isMapped(window, in: space) {
        let isEarly = space == 0 && machine.peerPolicy != .onFault && state == .armed
        require(
          state == .open || isEarly, "window \(window) is \(state) and has an IOVA in space \(space)")
      }
      require((state == .closed) == (machine.conditions != .all), "window \(window) is wrongly \(state)")
    }
  }
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
