// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
public import PCI
public import Seams
internal import Synchronization
internal import Trace

/// A PCI function of the host that is assigned to the guest. Only this type changes the function's mappings,
/// interrupts and state.
public final class AssignedFunction<B: Backend>: Sendable {
  /// The address on the host. It names the device in every message.
  public let address: String
  /// The function's BARs.
  public let bars: [BAR]
  /// The interrupt pin: 0 for INTA# to 3 for INTD#, or nil if the function has none.
  public let interruptPin: UInt8?
  let device: B.Device
  let configuration: FunctionConfiguration
  let observe: FunctionObserver
  /// Lock order: ``handling``, this lock, then the locks of ``AddressDecoder``, the memory slots, the
  /// interrupt routes and the trace. vCPU threads take it for trapped accesses. The control thread takes it
  /// for the notifications of the host's kernel and for the shutdown. A thread never holds the locks of two
  /// functions. No thread holds it during a reset, which may take a second. The reset at the start is an
  /// exception: the guest's accesses must wait for it.
  let state: Mutex<FunctionState<B>>
  /// Held while the device is reset or released during the guest's run, so that the two never overlap. It is
  /// taken before ``state``.
  let handling = Mutex(())
  /// The function's request to open due windows. A thread makes it with ``state`` locked, and takes it before
  /// it locks ``state``.
  private let opening: OpeningRequest
  /// The index of the function's first BAR in ``PassthroughContext/decoder``.
  private let decoderIndex: Int
  let notifications: DeviceNotifications<B>
  private let context: PassthroughContext<B>
  /// Signalled when vCPUs stop waiting for pinned RAM: the VM ends, or the function leaves the guest.
  let isLeaving: EventFD

  /// Creates the function from a device that the kernel has just opened, and the guest's view of its
  /// registers.
  ///
  /// Bus mastering is off afterwards. Memory is off too, unless the memory bit is shadowed. No window is
  /// mapped for the guest or for other devices. The kernel has already reset a device that it can reset
  /// alone. A device that needs a bus reset is reset here.
  ///
  /// - Parameters:
  ///   - device: The open device.
  ///   - context: The resources of the host that the VM's functions share.
  ///   - configuration: The decisions about the device, such as its policies and its reset method.
  ///   - observe: Called for every event, with the function's lock held.
  public convenience init(
    _ device: B.Device, context: PassthroughContext<B>, configuration: FunctionConfiguration,
    observe: @escaping FunctionObserver
  ) throws(FunctionError) {
    let opening = OpeningRequest(context.openings)
    // The state is created last: a noncopyable value cannot be discarded half-initialized.
    do throws(OperationError) {
      if case .none(let why) = configuration.reset { observe(.warning(why), 0) }
      if case .bus = configuration.reset { try configuration.reset.perform(on: device, .start, observe) }
      let notifications = try DeviceNotifications<B>(device, context.machine)
      let isLeaving = try Self.makeEventFD()
      let initial = try FunctionState<B>(
        device, context: context, configuration: configuration, opening: opening, observe: observe)
      self.init(initial, notifications, isLeaving: isLeaving)
    } catch { throw FunctionError(device: device.address, cause: error) }
  }

  private static func makeEventFD() throws(OperationError) -> EventFD {
    do throws(KernelError) { return try EventFD() } catch { throw OperationError(error) }
  }

  private init(
    _ initial: consuming FunctionState<B>, _ notifications: DeviceNotifications<B>,
    isLeaving: consuming EventFD
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
    self.notifications = notifications
    self.isLeaving = isLeaving
  }

  deinit { context.decoder.release(decoderIndex, bars.count) }

  /// Places the function on the guest's bus, before the guest starts.
  ///
  /// - Parameters:
  ///   - addresses: The addresses of the BARs, in the order of ``bars``.
  ///   - function: The device and function number on the guest's bus.
  ///   - isMultifunction: True if other functions share the PCI slot.
  ///   - gsi: The input of the guest's I/O APIC that the pin is wired to.
  public func attach(
    _ addresses: [UInt64], function: Int, isMultifunction: Bool, gsi: UInt32
  ) throws(FunctionError) {
    try locked { state throws(OperationError) in
      for (bar, address) in zip(bars, addresses) { state.config.setBase(of: bar, to: address) }
      state.config.setLocation(isMultifunction: isMultifunction, interruptLine: UInt8(gsi))
      if interruptPin != nil {
        state.interrupts.intx = try INTxPin(device, state.context.machine, gsi: gsi)
      }
      state.number = function
      update(state)
    }
  }

  /// Resets the function before the guest uses it. The guest may run concurrently: its accesses to this
  /// function wait, and other accesses do not.
  ///
  /// - Parameter begun: Called as soon as accesses wait. The guest must not start earlier.
  /// - Throws: The cause if the reset fails. The function then does not answer the guest.
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

  /// Stores the present addresses of the function's BARs in the decoder. The caller holds the function's
  /// lock.
  func update(_ state: borrowing FunctionState<B>) {
    let isAnswering = state.gate.conditions.isSuperset(of: .initial)
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

  /// Calls `body` for a vCPU, with the function's lock held. Isolates the function if a mapping cannot be
  /// removed.
  ///
  /// - Returns: The result of `body`, or `otherwise` if the function has been isolated.
  func served<Result: Sendable>(
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

  /// Writes configuration space: 1, 2 or 4 bytes. Returns after the write has had its effect, including a
  /// reset.
  ///
  /// - Throws: The cause if guest RAM could not be pinned or a mapping of the function could not be removed.
  public func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(FunctionError) {
    guard try waitUntilPinned(offset, width: width, value) else { return }
    do throws(OperationError) {
      let deferred = try state.withLock { state throws(OperationError) in
        let deferred = try state.writeConfig(offset, width: width, value)
        if case .reset = deferred { try state.beginReset() }
        update(state)
        return deferred
      }
      if case .reset(let reason) = deferred { try reset(reason) }
    } catch { try isolate(error) }
  }

  /// Waits for pinned RAM before a write that may set Bus Master Enable. Holds no lock that a request of the
  /// host needs. Returns false if the write no longer matters.
  private func waitUntilPinned(_ offset: Int, width: Int, _ value: UInt32) throws(FunctionError) -> Bool {
    let byte = ConfigOffset.command - offset
    guard (0..<width).contains(byte), value >> UInt32(byte * 8) & UInt32(Command.busMaster.rawValue) != 0
    else { return true }
    do throws(OperationError) { return try context.dma.waitUntilPinned(orUntil: isLeaving) } catch {
      throw failure(error)
    }
  }

  /// Ends the wait of vCPUs for pinned RAM at the end of the VM.
  public func stopWaiting() { isLeaving.signal() }

  /// Resets the function after its gate has closed. Restores the guest's state and arms the windows afterwards.
  func reset(_ reason: TraceEvent.ResetReason) throws(OperationError) {
    try handling.withLock { _ throws(OperationError) in
      var failure: (warning: Warning, text: FunctionWarning)?
      do throws(OperationError) {
        if configuration.reset.isSafeWhileRunning {
          try configuration.reset.perform(on: device, reason, observe)
        } else {
          let text =
            "the guest requested a reset, but no reset affects this device alone: the device continues "
            + "without a reset"
          failure = (.noReset, FunctionWarning(text))
        }
      } catch { failure = (.reset, "\(error): the device continues without a reset") }
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

  /// Opens the windows that are due. The caller keeps every vCPU between two instructions.
  public func openDueWindows() throws(FunctionError) {
    guard opening.take() else { return }
    try served(otherwise: ()) { state throws(OperationError) in try state.apply(.open, state.openingReason) }
  }

  /// Demotes the function's windows if another BAR has moved into the pages of a mapped window. The same BAR
  /// then answers every access, whatever was mapped before.
  public func demoteSharedPages() throws(FunctionError) {
    try served(otherwise: ()) { state throws(OperationError) in try state.demoteSharedPages() }
  }

  /// Marks an armed window as due for an instruction that KVM cannot emulate.
  ///
  /// - Parameter location: The location in a BAR that the instruction accesses, or nil for all armed windows.
  public func makeDue(_ location: BARLocation?) throws(FunctionError) -> EmulationRemedy {
    try served(otherwise: .none) { state throws(OperationError) in try state.makeDue(location) }
  }

  /// Reads an I/O BAR. Returns all-ones if the guest has disabled I/O space.
  public func readPort(bar: Int, offset: UInt64, width: Int) -> UInt64 {
    state.withLock { state in state.readPort(bar: bar, offset: offset, width: width) }
  }

  /// Writes an I/O BAR.
  public func writePort(bar: Int, offset: UInt64, width: Int, _ value: UInt64) {
    state.withLock { state in state.writePort(bar: bar, offset: offset, width: width, value) }
  }

  /// Demotes open windows after a bare -EFAULT of KVM_RUN. Returns false if no window was demoted.
  public func demote(_ reason: DemotionReason) throws(FunctionError) -> Bool {
    try served(otherwise: true) { state throws(OperationError) in try state.demote(reason) }
  }

  /// True if the process of the device has ended or has broken the protocol.
  public var isLost: Bool { state.withLock { $0.device.loss != nil } }

  /// True if a window has a slot or may have an IOVA.
  public var isMapped: Bool { state.withLock { $0.gate.isMapped } }

  /// The function's statistics so far.
  public var statistics: FunctionStatistics {
    state.withLock { state in
      var statistics = state.statistics
      statistics.vectorsUsed = state.interrupts.used
      return statistics
    }
  }
}
