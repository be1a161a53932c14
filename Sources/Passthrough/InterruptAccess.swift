// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// Interrupts, as the guest's registers have them.
extension FunctionState {
  /// The kind that the guest has chosen. The pin is the one without a choice, from the moment that the
  /// function answers anything at all.
  private var chosenMode: InterruptMode {
    if table?.isEnabled == true { return .msix }
    if config.msi?.isEnabled == true { return .msi }
    let isInUse = interrupts.mode != .none || !config.command.isDisjoint(with: [.ioSpace, .memorySpace])
    return interrupts.line != nil && isInUse ? .intx : .none
  }

  private var chosenCount: Int {
    switch chosenMode {
    case .none, .intx: 0
    case .msi: config.msi?.count ?? 0
    case .msix: table?.count ?? 0
    }
  }

  /// Turns on in the host what the guest has chosen, where that is not on yet; true where it was not.
  @discardableResult
  mutating func updateInterrupts() throws(KernelError) -> Bool {
    let mode = chosenMode
    let count = chosenCount
    guard mode != interrupts.mode || count != interrupts.asked else { return false }
    let start = Clock.microseconds()
    do throws(KernelError) { try interrupts.turn(mode, count: count) } catch {
      guard mode == .intx else { throw error }
      // The host may have no way to share the line. Everything else goes on working.
      warn("its interrupt pin does not work: \(error)")
      interrupts.line = nil
      return true
    }
    if interrupts.count < count {
      warn("the host has \(interrupts.count) vectors for it, the guest has asked for \(count)")
    }
    tell(.interrupts(mode, count: count), since: start)
    for vector in 0..<count where isActive(vector) { try apply(.unmasked(vector)) }
    return true
  }

  private func isActive(_ vector: Int) -> Bool {
    interrupts.mode == .msix ? table?.isActive(vector) ?? false : config.msi?.isActive(vector) ?? false
  }

  private func message(_ vector: Int) -> InterruptMessage? {
    interrupts.mode == .msix ? table?.message(vector) : config.msi?.message(vector)
  }

  mutating func setMessageControl(
    enabled: Bool, functionMasked: Bool
  ) throws(KernelError) {
    let maySend = table?.setControl(enabled: enabled, functionMasked: functionMasked)
    if try updateInterrupts() { return }
    guard let maySend else { return }
    for vector in 0..<(table?.count ?? 0) where table?.isMasked(vector) == false {
      try apply(maySend ? .unmasked(vector) : .masked(vector))
    }
  }

  mutating func setMSI(from old: MSIState, to new: MSIState) throws(KernelError) {
    if try updateInterrupts() { return }
    guard interrupts.mode == .msi else { return }
    for vector in 0..<max(new.count, old.count) {
      if let change = new.change(of: vector, from: old) { try apply(change) }
    }
  }

  /// Carries a change of a vector over to the host.
  mutating func apply(_ change: MessageChange) throws(KernelError) {
    let start = Clock.microseconds()
    switch change {
    case .unmasked(let vector):
      guard let message = message(vector), let isNew = try interrupts.connect(vector, message) else { return }
      if isNew { tell(.vector(vector, .allocate), since: start) }
      tell(.vector(vector, .unmask), since: start)
    case .masked(let vector):
      if try interrupts.disconnect(vector) { tell(.vector(vector, .mask), since: start) }
    case .message(let vector):
      guard let message = message(vector) else { return }
      if try interrupts.route(vector, message) { tell(.vector(vector, .route), since: start) }
    }
  }

  /// The MSI-X pending bits of 64 vectors; all 0 where the function has none.
  func pendingMSIX(from first: Int) throws(KernelError) -> UInt64 {
    guard let layout = table?.layout else { return 0 }
    return try interrupts.msix?.pending(from: first) {
      pendingBits(layout.pendingBar, layout.pendingOffset + UInt64(first / 8), width: 8)
    } ?? 0
  }

  /// The device's own pending bits; none, and told, where it does not answer.
  private func pendingBits(_ region: Int, _ offset: UInt64, width: Int) -> UInt64 {
    do throws(KernelError) { return try device.read(region, offset: offset, width: width) } catch {
      warn("which of its vectors are pending is not known: \(error)")
      return 0
    }
  }

  /// The MSI pending bits.
  func pendingMSI() throws(KernelError) -> UInt32 {
    guard let layout = config.msiLayout else { return 0 }
    let bits = try interrupts.msi?.pending(from: 0) {
      pendingBits(Device.configRegion, UInt64(layout.pending), width: 4)
    }
    return UInt32(truncatingIfNeeded: bits ?? 0)
  }
}
