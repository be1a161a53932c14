// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
public import PCI
public import Seams
internal import Synchronization
internal import Trace

/// A function of the host that a guest has: the one place that changes its mappings, its
/// interrupts and its state.
public final class AssignedFunction<B: Backend>: Sendable {
  /// The address on the host, which names the device in every message.
  public let address: String
  /// Its BARs.
  public let bars: [BAR]
  /// Its interrupt pin: 0 for INTA# to 3 for INTD#; nil where it has none.
  public let interruptPin: UInt8?
  let device: B.Device
  let configuration: FunctionConfiguration
  let observe: FunctionObserver
  /// Taken by vCPU threads for a trapped access and by the control thread for the hand-over and for what
  /// the host wants; inside it those of ``DecodedRanges``, of the machine's slots and routes, and of the
  /// trace. Never two functions' at once, and not while a reset is going on, which may take a second: but for the
  /// one at the start, for which the guest is to wait.
  let state: Mutex<FunctionState<B>>
  /// Held by whoever resets the device or gives it back, so that neither meets the other; never taken
  /// inside `state`, which is taken inside it.
  let handling = Mutex(())
  /// Set inside `state`, taken before it.
  private let opening: OpeningRequest
  /// Index of the function's first BAR in ``Host/decoder``.
  private let decoderIndex: Int
  let notices: DeviceNotifications<B>
  private let context: PassthroughContext<B>
  /// Signalled when no vCPU need wait for pinned RAM: the VM ends, or the function leaves the guest.
  let isLeaving: EventFD

  /// Takes over a device that the kernel has just opened, leaves it with memory and bus mastering off, and makes
  /// the guest's view of it. Nothing of it is mapped. The kernel has reset it where it can do so alone; what is
  /// reset only with its bus is reset here.
  ///
  /// - Parameter observe: Told of everything that happens, with the function's lock held.
  public convenience init(
    _ device: B.Device, context: PassthroughContext<B>, configuration: FunctionConfiguration,
    observe: @escaping FunctionObserver
  ) throws(FunctionError) {
    let opening = OpeningRequest(context.openings)
    // The state comes last: it cannot be copied, and so cannot be given up half made.
    do throws(OperationError) {
      if case .none(let why) = configuration.reset { observe(.warning(why), 0) }
      if case .bus = configuration.reset { try configuration.reset.perform(on: device, .start, observe) }
      let notices = try DeviceNotifications<B>(device, context.machine)
      let isLeaving = try Self.makeEvent()
      let initial = try FunctionState<B>(
        device, context: context, configuration: configuration, opening: opening, observe: observe)
      self.init(initial, notices, isLeaving: isLeaving)
    } catch { throw FunctionError(device: device.address, cause: error) }
  }

  private static func makeEvent() throws(OperationError) -> EventFD {
    do throws(KernelError) { return try EventFD() } catch { throw OperationError(error) }
  }

  private init(
    _ initial: consuming FunctionState<B>, _ notices: DeviceNotifications<B>, isLeaving: consuming EventFD
  ) {
    device = initial.device
    context = initial.context
    configuration = initial.configuration
    observe = initial.observe
    opening = initial.opening
    address = initial.device.address
    bars = initial.config.bars
    interruptPin = initial.config.interruptPin
    decoderIndex = initial.context.decoder.reserve(initial.config.bars.count)
    state = Mutex(initial)
    self.notices = notices
    self.isLeaving = isLeaving
  }

  /// Gives the function its place before the guest starts.
  ///
  /// - Parameters:
  ///   - addresses: Those of the BARs, in the order of ``bars``.
  ///   - function: Its device and function number on the guest's bus.
  ///   - isMultifunction: Whether other functions share its slot.
  ///   - gsi: The input of the guest's I/O APIC that its pin is wired to.
  public func place(
    _ addresses: [UInt64], function: Int, isMultifunction: Bool, gsi: UInt32
  ) throws(FunctionError) {
    try locked { state throws(OperationError) in
      for (bar, address) in zip(bars, addresses) { state.config.setBase(of: bar, to: address) }
      state.config.setPlace(isMultifunction: isMultifunction, interruptLine: UInt8(gsi))
      if interruptPin != nil {
        state.interrupts.intx = try INTxPin(device, state.context.machine, gsi: gsi)
      }
      state.number = function
      update(state)
    }
  }

  /// Resets the function for the guest, which may run meanwhile: its accesses to this function wait, no others.
  ///
  /// - Parameter begun: Called when accesses wait; the guest must not start before that.
  /// - Throws: When it cannot be reset; it does not answer the guest then.
  public func resetAtStart(begun: () -> Void) throws(FunctionError) {
    try locked { state throws(OperationError) in
      begun()
      guard case .function = configuration.reset else { return }
      do throws(OperationError) { try configuration.reset.perform(on: device, .start, observe) } catch {
        try state.apply(.set(.alive, false), .shutdown)
        update(state)
        throw error
      }
      state.writeCommand()
    }
  }

  /// Tells the bus where the function answers; with the function's lock held.
  func update(_ state: borrowing FunctionState<B>) {
    let isAnswering = state.gate.conditions.isSuperset(of: [.fullPower, .outOfReset, .alive])
    context.decoder.update(
      decoderIndex, function: state.number, state.config, isAnswering: isAnswering)
  }

  func failure(_ error: OperationError) -> FunctionError { FunctionError(device: address, cause: error) }

  /// Calls `body` with the function's lock held.
  func locked<Result: Sendable>(
    _ body: (inout FunctionState<B>) throws(OperationError) -> Result
  ) throws(FunctionError) -> Result {
    do throws(OperationError) {
      return try state.withLock { state throws(OperationError) in try body(&state) }
    } catch { throw failure(error) }
  }

  /// Calls `body` with the function's lock held, for a vCPU. A mapping that cannot be removed isolates the function.
  ///
  /// - Returns: The result of `body`, or `otherwise` if the function has been isolated.
  private func served<Result: Sendable>(
    otherwise: Result, _ body: (inout FunctionState<B>) throws(OperationError) -> Result
  ) throws(FunctionError) -> Result {
    do throws(OperationError) {
      return try state.withLock { state throws(OperationError) in try body(&state) }
    } catch {
      try isolate(error)
      return otherwise
    }
  }

  /// Reads configuration space: 1, 2 or 4 bytes.
  public func readConfig(_ offset: Int, width: Int) throws(FunctionError) -> UInt32 {
    state.withLock { state in state.readConfig(offset, width: width) }
  }

  /// Writes configuration space: 1, 2 or 4 bytes. Comes back when the write has had its effect, a
  /// reset included.
  ///
  /// - Throws: Why guest RAM could not be pinned, or why a mapping of the function could not be removed.
  public func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(FunctionError) {
    guard try waitUntilMaster(offset, width: width, value) else { return }
    do throws(OperationError) {
      let rest = try state.withLock { state throws(OperationError) in
        let rest = try state.writeConfig(offset, width: width, value)
        if case .reset = rest { try state.beginReset() }
        update(state)
        return rest
      }
      if case .reset(let reason) = rest { try reset(reason) }
    } catch { try isolate(error) }
  }

  /// Waits for pinned RAM before a write that may set Bus Master Enable, without a lock that a request of the host
  /// needs; false if the write no longer matters.
  private func waitUntilMaster(_ offset: Int, width: Int, _ value: UInt32) throws(FunctionError) -> Bool {
    let byte = ConfigOffset.command - offset
    guard (0..<width).contains(byte), value >> UInt32(byte * 8) & UInt32(Command.busMaster.rawValue) != 0
    else { return true }
    do throws(OperationError) { return try context.dma.waitUntilPinned(orUntil: isLeaving) } catch {
      throw failure(error)
    }
  }

  /// Lets vCPUs go that wait for pinned RAM: the VM ends.
  public func stopWaiting() { isLeaving.signal() }

  /// Resets a function whose gate is closed for it, and lets the guest have it again.
  private func reset(_ reason: TraceEvent.ResetReason) throws(OperationError) {
    try handling.withLock { _ throws(OperationError) in
      var failure: (warning: Warning, text: String)?
      do throws(OperationError) {
        if configuration.reset.isSafeWhileRunning {
          try configuration.reset.perform(on: device, reason, observe)
        } else {
          let text =
            "the guest asks for a reset, and there is none that reaches it alone; it goes on as it is"
          failure = (.noReset, text)
        }
      } catch { failure = (.reset, "\(error); it goes on as it is") }
      try state.withLock { state throws(OperationError) in
        if let failure { state.warn(failure.warning, failure.text) }
        try state.finishReset(isInD0: failure == nil || reason == .power)
        update(state)
      }
    }
  }

  /// Reads a memory BAR.
  public func readMemory(bar: Int, offset: UInt64, width: Int) throws(FunctionError) -> UInt64 {
    try served(otherwise: .max) { state throws(OperationError) in
      try state.readMemory(bar: bar, offset: offset, width: width)
    }
  }

  /// Writes a memory BAR.
  public func writeMemory(
    bar: Int, offset: UInt64, width: Int, _ value: UInt64
  ) throws(FunctionError) {
    try served(otherwise: ()) { state throws(OperationError) in
      try state.writeMemory(bar: bar, offset: offset, width: width, value)
    }
  }

  /// Opens the windows that are due. Every vCPU is between two instructions and stays there.
  public func openDueWindows() throws(FunctionError) {
    guard opening.take() else { return }
    try served(otherwise: ()) { state throws(OperationError) in try state.apply(.open, state.openingReason) }
  }

  /// Takes away windows whose pages another BAR has come into, so that the same BAR answers whatever is mapped.
  public func leaveSharedPages() throws(FunctionError) {
    try served(otherwise: ()) { state throws(OperationError) in try state.leaveSharedPages() }
  }

  /// Makes an armed window due for an instruction that KVM cannot emulate.
  ///
  /// - Parameter place: The address that the instruction accesses, in a BAR; nil for all armed windows.
  public func makeDue(_ place: BARLocation?) throws(FunctionError) -> EmulationRemedy {
    try served(otherwise: .none) { state throws(OperationError) in try state.makeDue(place) }
  }

  /// Reads an I/O BAR; all-ones where the guest has turned I/O off.
  public func readPort(bar: Int, offset: UInt64, width: Int) -> UInt64 {
    state.withLock { state in state.readPort(bar: bar, offset: offset, width: width) }
  }

  /// Writes an I/O BAR.
  public func writePort(bar: Int, offset: UInt64, width: Int, _ value: UInt64) {
    state.withLock { state in state.writePort(bar: bar, offset: offset, width: width, value) }
  }

  /// Demotes open windows after a bare -EFAULT of KVM_RUN; false where there was none to demote.
  ///
  /// - Parameter all: Whether a device that says its memory is on is meant too.
  public func demote(all: Bool) throws(FunctionError) -> Bool {
    try served(otherwise: true) { state throws(OperationError) in try state.demote(all: all) }
  }

  /// What it has done so far.
  public var statistics: FunctionStatistics {
    state.withLock { state in
      var statistics = state.statistics
      statistics.vectorsUsed = state.interrupts.used
      return statistics
    }
  }
}
