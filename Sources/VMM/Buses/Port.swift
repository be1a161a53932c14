// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import PCI
internal import Passthrough
internal import Seams
internal import Synchronization

/// A root port on the guest's root bus, with the function in its slot.
///
/// The port's registers are a pure state machine. This type performs its effects: it closes and arms the function's
/// gate, resets the function, and takes it from the guest.
final class Port<B: Backend>: Sendable {
  /// The index among the ports, and the device number on the root bus.
  let index: Int
  let slot: UInt8

  private struct State: ~Copyable {
    var port: RootPort
    var function: AssignedFunction<B>?
    var interrupt: PortInterrupt<B.Machine>
    /// The time in microseconds at which the function leaves by surprise, or nil.
    var deadline: Int64?
    /// The first interrupt that was lost, or nil.
    var lost: OperationError?

    /// Sends the port's interrupt.
    mutating func signal() {
      do throws(OperationError) { try interrupt.update(&port) } catch { lost = lost ?? error }
    }
  }

  /// Lock order: ``handling``, this lock, then the locks of the interrupt routes. vCPU threads take it for accesses to
  /// configuration space, and the control thread for events of the host. No function's lock is taken inside it.
  private let state: Mutex<State>
  /// Held while a write or an event is handled, so that its effects on the function are in order. A reset may take a
  /// second. It is taken before ``state`` and before the locks of the function.
  private let handling = Mutex(())
  /// The number of the bus behind the port if configuration requests reach the slot, else 256. vCPU threads read it
  /// without a lock.
  private let reachableBus = Atomic<Int>(256)
  private let departures: Departures<B>

  /// Creates a port.
  ///
  /// - Parameters:
  ///   - index: The index among the ports.
  ///   - slot: The device number on the root bus.
  ///   - port: The registers.
  ///   - function: The function in the slot, or nil if the slot is empty.
  ///   - interrupt: The interrupt of the port.
  ///   - departures: The receiver of functions that leave the slot.
  init(
    index: Int, slot: UInt8, _ port: RootPort, _ function: AssignedFunction<B>?,
    _ interrupt: PortInterrupt<B.Machine>, departures: Departures<B>
  ) throws(FunctionError) {
    (self.index, self.slot, self.departures) = (index, slot, departures)
    state = Mutex(State(port: port, function: function, interrupt: interrupt))
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
        state.signal()
        return (effects, state.function)
      }
      try closeIfNeeded(function)
      for effect in effects {
        switch effect {
        case .reset(true), .power(true): try function?.resetInSlot()
        case .eject: try eject(function)
        case .reset(false), .power(false), .buses, .forwarding, .interrupt: break
        }
      }
      try openIfPossible()
    }
  }

  /// Closes the function's gate if the port forwards nothing.
  private func closeIfNeeded(_ function: AssignedFunction<B>?) throws(FunctionError) {
    let (isForwarding, bus) = state.withLock { ($0.port.isForwarding, Self.bus($0.port)) }
    reachableBus.store(bus, ordering: .relaxed)
    if !isForwarding { try function?.setConnected(false) }
  }

  private static func bus(_ port: RootPort) -> Int {
    port.isReachable && !port.isContained ? Int(port.secondaryBus) : 256
  }

  /// Arms the function's gate if the port forwards.
  private func openIfPossible() throws(FunctionError) {
    let (isForwarding, bus, function) = state.withLock {
      ($0.port.isForwarding, Self.bus($0.port), $0.function)
    }
    reachableBus.store(bus, ordering: .relaxed)
    if isForwarding { try function?.setConnected(true) }
  }

  /// Takes the function from the guest, which has switched its power off.
  private func eject(_ function: AssignedFunction<B>?) throws(FunctionError) {
    guard let function else { return }
    try function.leaveSlot()
    state.withLock { state in
      state.function = nil
      state.deadline = nil
      state.port.empty()
      state.signal()
    }
    departures.add(function)
  }

  // MARK: Events of the host

  /// Asks the guest to release the function: presses the attention button.
  ///
  /// - Parameter time: The time in microseconds on the clock at which the function leaves by surprise.
  func requestRemoval(by time: Int64) {
    handling.withLock { _ in
      state.withLock { state in
        // A second press would cancel the first one.
        guard state.function != nil, state.deadline == nil else { return }
        state.deadline = time
        state.port.pressButton()
        state.signal()
      }
    }
  }

  /// The time in microseconds at which the function leaves by surprise, or nil.
  var deadline: Int64? { state.withLock { $0.deadline } }

  /// Takes the function from the guest without its consent.
  func removeBySurprise() throws(FunctionError) {
    try handling.withLock { _ throws(FunctionError) in
      guard let function else { return }
      try function.leaveSlot()
      state.withLock { state in
        state.function = nil
        state.deadline = nil
        state.port.removeBySurprise()
        state.signal()
        reachableBus.store(256, ordering: .relaxed)
      }
      departures.add(function)
    }
  }

  /// Contains an error of the function that the host has reported, and reports it to the guest. The gate closes first.
  func contain() throws(FunctionError) {
    try handling.withLock { _ throws(FunctionError) in
      try function?.setConnected(false)
      state.withLock { state in
        state.port.report(.fatal, source: UInt16(slot) << 3, isOwn: true)
        reachableBus.store(256, ordering: .relaxed)
        state.signal()
      }
    }
  }

  /// The descriptor that is readable after the guest's end of an interrupt of the pin.
  var resample: Int32 { state.withLock { $0.interrupt.resample.number } }

  /// Raises the pin again if it is still asserted.
  func endOfInterrupt() {
    state.withLock { state in
      do throws(OperationError) { _ = try state.interrupt.resample.take() } catch {
        state.lost = state.lost ?? error
      }
      state.signal()
    }
  }
}

/// The functions that have left their slots and are not yet returned to the host.
final class Departures<B: Backend>: Sendable {
  /// vCPU threads and the control thread add functions, and the control thread takes them. Innermost in the lock order.
  private let functions = Mutex<[AssignedFunction<B>]>([])
  private let event: EventFD

  init() throws(KernelError) { event = try EventFD() }

  /// The descriptor that is readable while functions wait.
  var number: Int32 { event.number }

  /// Adds a function whose gate is closed permanently.
  func add(_ function: AssignedFunction<B>) {
    functions.withLock { $0.append(function) }
    event.signal()
  }

  /// Returns the functions and forgets them.
  func take() throws(KernelError) -> [AssignedFunction<B>] {
    try event.take()
    return functions.withLock { functions in
      defer { functions = [] }
      return functions
    }
  }
}
