// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// The interrupts that the guest's registers select.
extension FunctionState {
  /// The kind of interrupt that the guest has selected. INTx is the default, from the moment at which the
  /// guest enables memory or I/O space.
  private var chosenMode: TraceEvent.InterruptMode {
    if table?.isEnabled == true { return .msix }
    if config.msi?.isEnabled == true { return .msi }
    let isInUse = interrupts.mode != .none || !config.command.isDisjoint(with: [.ioSpace, .memorySpace])
    return interrupts.intx != nil && isInUse ? .intx : .none
  }

  private var chosenCount: Int {
    switch chosenMode {
    case .none, .intx: 0
    case .msi: config.msi?.count ?? 0
    case .msix: table?.count ?? 0
    }
  }

  /// True if interrupts can be enabled for the device. In D1 to D3hot the kernel refuses MSI and MSI-X with
  /// EINVAL (drivers/pci/msi/msi.c, pci_msi_supported).
  private var takesInterrupts: Bool { gate.conditions.isSuperset(of: [.fullPower, .alive]) }

  /// Turns on the kind of interrupt that the guest has selected. Returns false if it is already on with the
  /// same number of vectors, else true.
  ///
  /// A failure is retried at the guest's next write to COMMAND or to the registers of MSI and MSI-X.
  /// Interrupts stay off while they cannot be enabled for the device. ``restoreInterrupts()`` turns them on
  /// afterwards.
  @discardableResult
  mutating func updateInterrupts() -> Bool {
    let mode = chosenMode
    let count = chosenCount
    guard mode != interrupts.mode || count != interrupts.requestedCount else { return false }
    guard takesInterrupts else {
      turnInterruptsOff()
      return true
    }
    let start = Clock.microseconds()
    turnInterruptsOff()
    do throws(InterruptFailure) { try interrupts.turn(mode, count: count) } catch {
      switch mode {
      case .none: warn(error.warning, "\(error.error)")
      // The host may be unable to share the IRQ. The rest of the function continues to work.
      case .intx: warn(error.warning, "INTx cannot be enabled: \(error.error)")
      case .msi, .msix: warn(error.warning, "the vectors cannot be enabled: \(error.error)")
      }
      return true
    }
    let granted = interrupts.count
    if granted < count {
      warn(.count, "the host provides \(granted) vectors, the guest requested \(count)")
    }
    emit(.interrupts(mode, count: count), since: start)
    for vector in 0..<count where isActive(vector) { apply(.unmasked(vector)) }
    return true
  }

  /// Turns on the interrupts that the guest selected or unmasked while the device could not have any.
  mutating func restoreInterrupts() {
    if updateInterrupts() { return }
    for vector in 0..<interrupts.requestedCount where isActive(vector) && !interrupts.isConnected(vector) {
      apply(.unmasked(vector))
    }
  }

  /// Turns interrupts off. A failure is logged.
  mutating func turnInterruptsOff() {
    if let failure = interrupts.turnOff() { warn(failure.warning, "\(failure.error)") }
  }

  private func isActive(_ vector: Int) -> Bool {
    interrupts.mode == .msix ? table?.isActive(vector) ?? false : config.msi?.isActive(vector) ?? false
  }

  private func message(_ vector: Int) -> MSIMessage? {
    interrupts.mode == .msix ? table?.message(vector) : config.msi?.message(vector)
  }

  mutating func setMessageControl(enabled: Bool, functionMasked: Bool) {
    let maySend = table?.setControl(enabled: enabled, functionMasked: functionMasked)
    if updateInterrupts() { return }
    guard let maySend else { return }
    for vector in 0..<(table?.count ?? 0) where table?.isMasked(vector) == false {
      apply(maySend ? .unmasked(vector) : .masked(vector))
    }
  }

  mutating func setMSI(from old: MSIState, to new: MSIState) {
    if updateInterrupts() { return }
    guard interrupts.mode == .msi else { return }
    for vector in 0..<max(new.count, old.count) {
      if let change = new.change(of: vector, from: old) { apply(change) }
    }
  }

  /// Applies a change of a vector to the host. A vector stays masked if the host lacks a resource for it.
  mutating func apply(_ change: VectorTransition) {
    let start = Clock.microseconds()
    do throws(InterruptFailure) {
      switch change {
      case .unmasked(let vector):
        guard takesInterrupts, let message = message(vector),
          let isNew = try interrupts.connect(vector, message)
        else { return }
        if isNew { emit(.vector(vector, .allocate), since: start) }
        emit(.vector(vector, .unmask), since: start)
      case .masked(let vector):
        if try interrupts.disconnect(vector) { emit(.vector(vector, .mask), since: start) }
      case .message(let vector):
        guard takesInterrupts || interrupts.isConnected(vector), let message = message(vector),
          let isNew = try interrupts.route(vector, message)
        else { return }
        if isNew { emit(.vector(vector, .allocate), since: start) }
        emit(.vector(vector, .route), since: start)
      }
    } catch { warn(error, of: change) }
  }

  private mutating func warn(_ failure: InterruptFailure, of change: VectorTransition) {
    let vector =
      switch change {
      case .unmasked(let vector), .masked(let vector), .message(let vector): vector
      }
    let state = failure.warning == .mask ? "cannot be masked" : "stays masked"
    warn(
      failure.warning,
      FunctionWarning(
        "vector \(vector) \(state): \(failure.error)",
        failure.error.errno == KernelError.tooManyFiles ? .descriptorLimit : nil))
  }

  /// Returns the MSI-X pending bits of 64 vectors, or 0 if the function has no MSI-X.
  mutating func pendingMSIX(from first: Int) -> UInt64 {
    guard let layout = table?.layout else { return 0 }
    return pending(
      interrupts.msix, from: first, layout.pendingBAR, layout.pendingOffset + UInt64(first / 8), width: 8)
  }

  /// Returns the MSI pending bits, or 0 if the function has no MSI.
  mutating func pendingMSI() -> UInt32 {
    guard let layout = config.msiLayout else { return 0 }
    let bits = pending(interrupts.msi, from: 0, RegionIndex.config, UInt64(layout.pending), width: 4)
    return UInt32(truncatingIfNeeded: bits)
  }

  /// Returns the pending bits of vectors. Bits that only the device has are read at `offset` of `region`. Bits
  /// that cannot be read are 0, and a warning is logged.
  private mutating func pending(
    _ vectors: Vectors<B>?, from first: Int, _ region: Int, _ offset: UInt64, width: Int
  ) -> UInt64 {
    var bits: UInt64 = 0
    do throws(OperationError) {
      guard let (raised, inDevice) = try vectors?.pending(from: first) else { return 0 }
      bits = raised
      if inDevice != 0 { bits |= try device.read(region, offset: offset, width: width) & inDevice }
    } catch { warn(.pending, "the pending bits cannot be read: \(error)") }
    return bits
  }
}
