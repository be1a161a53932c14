// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import PCI
internal import Passthrough
internal import Seams
internal import Synchronization
internal import Trace

/// A root port on the guest's root bus, with the function in its slot.
///
/// The port's registers are a pure state machine. This type performs its effects: it closes and arms the function's
/// gate, resets the function, and takes it from the guest.
final class Port<B: Backend>: Sendable {
  /// The index among the ports, and the device number on the root bus.
  let index: Int
  let slot: UInt8

  /// Lock order: ``handling``, this lock, then the locks of the interrupt routes and of the trace. vCPU threads take it for accesses to
  /// configuration space, and the control thread for events of the host. No function's lock is taken inside it.
  private let state: Mutex<PortState<B>>
  /// Held while a write or an event is handled, so that its effects on the function are in order. A reset may take a
  /// second. It is taken before ``state`` and before the locks of the function.
  private let handling = Mutex(())
  /// The number of the bus behind the port if configuration requests reach the slot, else 256. vCPU threads read it
  /// without a lock.
  private let reachableBus = Atomic<Int>(256)
  private let hotplug: HotplugQueue<B>
  /// Logs a warning.
  private let warn: @Sendable (String) -> Void

  /// Creates a port.
  ///
  /// - Parameters:
  ///   - index: The index among the ports.
  ///   - slot: The device number on the root bus.
  ///   - port: The registers.
  ///   - function: The function in the slot, or nil if the slot is empty.
  ///   - interrupt: The interrupt of the port.
  ///   - hotplug: The receiver of functions that leave the slot.
  ///   - warn: Logs a warning.
  init(
    index: Int, slot: UInt8, _ port: RootPort, _ function: AssignedFunction<B>?,
    _ interrupt: PortInterrupt<B.Machine>, hotplug: HotplugQueue<B>,
    warn: @escaping @Sendable (String) -> Void
  ) throws(FunctionError) {
    (self.index, self.slot, self.hotplug, self.warn) = (index, slot, hotplug, warn)
    state = Mutex(PortState(port: port, function: function, interrupt: interrupt))
    try closeIfNeeded(function)
  }

  /// The function in the slot, or nil if the slot is empty.
  var function: AssignedFunction<B>? { state.withLock { $0.function } }

  /// True if configuration requests for a bus reach the slot.
  func reaches(bus: Int) -> Bool { reachableBus.load(ordering: .relaxed) == bus }

  /// Reads the port's configuration space.
  func readConfig(_ offset: Int, width: Int) -> UInt32 {
    state.withLock { $0.port.read(offset: offset, width: width) }
  }

  /// Writes the port's configuration space, and performs the effects. Returns after a reset of the function.
  func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(FunctionError) {
    try handling.withLock { _ throws(FunctionError) in
      let (effects, function) = state.withLock { state in
        let effects = state.port.write(offset: offset, width: width, value)
        state.signal(warn)
        return (effects, state.function)
      }
      try closeIfNeeded(function)
      for effect in effects {
        switch effect {
        case .reset(true), .power(true): try reset(function)
        case .eject: try eject(function)
        case .reset(false), .power(false), .buses, .forwarding, .interrupt: break
        }
      }
      try openIfPossible()
    }
  }

  /// Resets the function. After an error of the host, the hotplug thread resets it, because the kernel may refuse the
  /// reset for seconds, and only that thread can open a device.
  private func reset(_ function: AssignedFunction<B>?) throws(FunctionError) {
    guard let function else { return }
    guard state.withLock({ $0.error == .reported }) else { return try function.resetInSlot() }
    let isAlive = try function.beginRecovery()
    state.withLock { $0.error = isAlive ? .resetting : nil }
    guard isAlive else { return }
    hotplug.add(.recovery(function, self))
  }

  /// Reports the state of a function whose reset has ended, before its gate arms.
  func noteReset(of function: AssignedFunction<B>) {
    state.withLock { state in
      guard state.function === function else { return }
      state.error = .arming
      state.noteLife()
    }
  }

  /// Ends the recovery of a function. A function that could not be recovered leaves by surprise.
  func endRecovery(_ function: AssignedFunction<B>, isRecovered: Bool) throws(FunctionError) {
    let isPresent = try handling.withLock { _ throws(FunctionError) in
      // The kernel signals an error once more if its own recovery fails.
      _ = try function.take(.error)
      return state.withLock { state in
        guard state.function === function else { return false }
        state.error = nil
        state.noteLife()
        return true
      }
    }
    if isPresent, !isRecovered { try removeBySurprise() }
  }

  /// Closes the function's gate if the port forwards nothing.
  private func closeIfNeeded(_ function: AssignedFunction<B>?) throws(FunctionError) {
    let (isForwarding, bus) = state.withLock { ($0.port.isForwarding, Self.bus($0.port)) }
    reachableBus.store(bus, ordering: .relaxed)
    if !isForwarding { try function?.setConnected(false) }
    state.withLock { $0.noteLife() }
  }

  private static func bus(_ port: RootPort) -> Int {
    port.isReachable && !port.isContained ? Int(port.secondaryBus) : 256
  }

  /// Arms the function's gate if the port forwards. The state is reported before that, so that a trace has every window
  /// that opens after the state that allows it.
  private func openIfPossible() throws(FunctionError) {
    let (isForwarding, bus, function) = state.withLock { state in
      state.noteLife()
      return (state.port.isForwarding, Self.bus(state.port), state.function)
    }
    reachableBus.store(bus, ordering: .relaxed)
    if isForwarding { try function?.setConnected(true) }
  }

  /// Takes the function from the guest, which has switched its power off.
  private func eject(_ function: AssignedFunction<B>?) throws(FunctionError) {
    guard let function else { return }
    try function.leaveSlot()
    state.withLock { state in
      state.forgetFunction()
      state.quietUntil = Clock.microseconds() + Self.quietTime
      state.port.empty()
      state.signal(warn)
    }
    hotplug.add(.departure(function))
  }

  // MARK: Events of the host

  /// True if memory requests reach the function.
  var isForwarding: Bool { state.withLock { $0.port.isForwarding } }

  /// True if a function is in the slot, or is about to be inserted.
  func has(_ function: AssignedFunction<B>) -> Bool {
    state.withLock { $0.function === function || $0.arrival?.function === function }
  }

  /// Asks the guest to release the function, as ``requestRemoval(by:)``.
  ///
  /// - Parameter seconds: The time for the guest, or nil for the default. With 0 the function leaves by surprise.
  func requestRemoval(within seconds: Int?) throws(FunctionError) {
    let time = seconds.map { Int64($0) * 1_000_000 } ?? Self.removalTime
    // A recovery ends first: it can hold the function's lock for seconds.
    if time == 0, state.withLock({ $0.function != nil && $0.error == nil }) { return try removeBySurprise() }
    try requestRemoval(by: Clock.microseconds() + time)
  }

  /// Asks the guest to release the function: presses the attention button. A function that is about to be inserted
  /// leaves at once. A function whose device no longer answers leaves by surprise: the guest's driver would wait for it.
  ///
  /// - Parameter time: The time in microseconds on the clock at which the function leaves by surprise.
  func requestRemoval(by time: Int64 = Clock.microseconds() + removalTime) throws(FunctionError) {
    // The function's lock may be held for a reset, and is thus taken before the locks of the port. A recovery holds it for
    // seconds, and ends with a removal if the device does not answer.
    let (function, error) = state.withLock { ($0.function, $0.error) }
    if let function, error == nil, !function.isAnswering { return try removeBySurprise() }
    try handling.withLock { _ throws(FunctionError) in
      state.withLock { state in
        // A second press would cancel the first one.
        if state.function != nil, state.deadline == nil {
          state.deadline = time
          state.port.pressButton()
          state.signal(warn)
          state.noteLife()
        }
      }
      try withdraw()
    }
  }

  /// Returns a function that is about to be inserted. The guest has not seen it.
  private func withdraw() throws(FunctionError) {
    let arriving = state.withLock { state in
      defer { state.arrival = nil }
      return state.arrival?.function
    }
    guard let arriving else { return }
    try arriving.leaveSlot()
    arriving.note(.gone)
    hotplug.add(.departure(arriving))
  }

  /// The time in microseconds that the guest gets to release a function. Linux waits five seconds after a press of the
  /// attention button.
  private static var removalTime: Int64 { 10_000_000 }

  /// True if the guest has been asked to release the function.
  var isLeaving: Bool { state.withLock { $0.deadline != nil } }

  /// The time in microseconds after a power-off in which Linux's pciehp discards changes of the slot, which is one
  /// second, and a reserve.
  private static var quietTime: Int64 { 1_500_000 }

  /// True if the slot is empty and no function is about to be inserted.
  var isFree: Bool { state.withLock { $0.function == nil && $0.arrival == nil } }

  /// The sizes of the port's windows as set by the guest.
  var window: PortWindow {
    state.withLock { state in
      func size(_ range: Range<UInt64>) -> UInt64 { range.upperBound - range.lowerBound }
      return PortWindow(memory32: size(state.port.memory32), memory64: size(state.port.memory64))
    }
  }

  /// Puts a function into the empty slot, as soon as the guest notices it.
  func insert(_ function: AssignedFunction<B>, _ link: RootPort.Link) throws(FunctionError) {
    // The guest reaches the function only through the port.
    try function.setConnected(false)
    let time = state.withLock { state in
      state.arrival = (function, link, state.quietUntil)
      return state.quietUntil
    }
    let now = Clock.microseconds()
    if time <= now { try act(at: now) }
  }

  /// The time in microseconds at which ``act(at:)`` is due, or nil.
  var deadline: Int64? { state.withLock { [$0.deadline, $0.arrival?.time].compactMap(\.self).min() } }

  /// Inserts or removes the function if it is time.
  func act(at time: Int64) throws(FunctionError) {
    let (isArriving, isLeaving) = state.withLock { state in
      (state.arrival.map { $0.time <= time } ?? false, state.deadline.map { $0 <= time } ?? false)
    }
    if isLeaving { try removeBySurprise() }
    guard isArriving else { return }
    try handling.withLock { _ throws(FunctionError) in
      state.withLock { state in
        guard let arrival = state.arrival else { return }
        state.arrival = nil
        state.function = arrival.function
        state.port.insert(arrival.link)
        state.signal(warn)
      }
      try openIfPossible()
    }
  }

  /// Takes the function from the guest without its consent.
  func removeBySurprise() throws(FunctionError) {
    try handling.withLock { _ throws(FunctionError) in
      guard let function else { return }
      try function.leaveSlot()
      state.withLock { state in
        state.forgetFunction()
        state.port.removeBySurprise()
        state.signal(warn)
        reachableBus.store(256, ordering: .relaxed)
      }
      hotplug.add(.departure(function))
    }
  }

  /// Contains an error that the host's kernel has reported. An error is one until the function has recovered, even if the
  /// kernel signals it again. A function that is about to be inserted leaves at once.
  func handleError(of function: AssignedFunction<B>) throws(FunctionError) {
    try handling.withLock { _ throws(FunctionError) in
      guard try function.take(.error) else { return }
      let isInSlot = state.withLock { $0.function === function }
      guard isInSlot else { return try withdraw() }
      let isNew = state.withLock { state in
        defer { state.error = state.error ?? .reported }
        return state.error == nil
      }
      if isNew { try closeAndReport() }
    }
  }

  /// Contains an injected error and reports it to the guest.
  func contain() throws(FunctionError) {
    try handling.withLock { _ throws(FunctionError) in try closeAndReport() }
  }

  /// Closes the gate, and then reports a fatal error.
  private func closeAndReport() throws(FunctionError) {
    try function?.setConnected(false)
    reachableBus.store(256, ordering: .relaxed)
    report(.fatal)
  }

  /// Reports an error of the slot to the guest. A fatal error must be contained before.
  func report(_ error: RootPort.ErrorSeverity) {
    state.withLock { state in
      state.port.report(error, source: UInt16(slot) << 3, isOwn: true)
      state.signal(warn)
      state.noteLife()
    }
  }

  /// The descriptor that is readable after the guest's end of an interrupt of the pin.
  var resample: Int32 { state.withLock { $0.interrupt.resample.number } }

  /// Raises the pin again if it is still asserted.
  func endOfInterrupt() {
    state.withLock { state in
      // If the eventfd is empty already, the level is still right.
      do throws(OperationError) { _ = try state.interrupt.resample.take() } catch {}
      state.signal(warn)
    }
  }
}
