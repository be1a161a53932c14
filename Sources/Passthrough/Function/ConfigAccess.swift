// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// Accesses to configuration space.
extension FunctionState {
  /// Serves a guest's read. Returns all-ones if the function does not answer.
  mutating func readConfig(_ offset: Int, width: Int) -> UInt32 {
    let ones = UInt32.max >> UInt32(32 - width * 8)
    guard gate.conditions.isSuperset(of: [.outOfReset, .alive]) else { return ones }
    if config.readsPending(offset: offset, width: width) { config.setPending(pendingMSI()) }
    guard config.readsDevice(offset: offset, width: width) else {
      return config.read(offset: offset, width: width)
    }
    do throws(OperationError) {
      let value = try device.read(RegionIndex.config, offset: UInt64(offset), width: width)
      return config.read(offset: offset, width: width, device: UInt32(truncatingIfNeeded: value))
    } catch {
      warn(.configRead, "\(error)")
      return ones
    }
  }

  /// Serves a guest's write and performs its effects.
  mutating func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(OperationError)
    -> DeferredAction
  {
    guard gate.conditions.isSuperset(of: [.outOfReset, .alive]) else { return .nothing }
    var deferred = DeferredAction.nothing
    for effect in config.write(offset: offset, width: width, value) {
      switch effect {
      case .command(let old, let new): try setCommand(from: old, to: new)
      case .base(let bar): try apply(.move(bar: bar), .move)
      case .msi(let old, let new): setMSI(from: old, to: new)
      case .msix(let enabled, let functionMasked):
        setMessageControl(enabled: enabled, functionMasked: functionMasked)
      case .power(let old, let new): if try setPower(from: old, to: new) { deferred = .reset(.power) }
      case .forward(let offset, let width, let value): writeDevice(offset, width: width, value)
      case .reset: deferred = .reset(.flr)
      }
    }
    return deferred
  }

  private mutating func setCommand(from old: Command, to new: Command) throws(OperationError) {
    let isOn = new.contains(.memorySpace)
    if gate.conditions.contains(.memoryEnabled) == isOn {
      changeCommand(from: old, to: new)
    } else {
      try apply(.set(.memoryEnabled, isOn), .command) { owner in owner.changeCommand(from: old, to: new) }
    }
    updateInterrupts()
  }

  private mutating func changeCommand(from old: Command, to new: Command) {
    let start = Clock.microseconds()
    writeCommand()
    emit(.command(old: old.rawValue, new: new.rawValue), since: start)
  }

  /// Changes the power state. Returns true if the function must be reset for the change.
  private mutating func setPower(
    from old: PowerState, to new: PowerState
  ) throws(OperationError) -> Bool {
    guard let capability = config.capabilities.first(CapabilityID.powerManagement) else { return false }
    let register = capability.offset + 4
    let kept = config.read(offset: register, width: 2)
    if old == .d3hot, new == .d0, !config.keepsStateInD3, configuration.reset.isSafeWhileRunning {
      // The gate closed on the transition to D3hot. The end of the reset arms it.
      writeDevice(register, width: 2, 0)
      return true
    }
    try apply(.set(.fullPower, new == .d0), .power) { owner in
      // Write the state bits only: a 1 in bit 15 would clear PME_Status.
      owner.writeDevice(register, width: 2, kept & 0x0003)
      // The device may lose COMMAND on the transition to D0: write it again.
      if new == .d0 { owner.writeCommand() }
    }
    if new == .d0 { restoreInterrupts() }
    return false
  }

  /// Closes the gate for a reset and turns interrupts off until ``finishReset(isInD0:)``.
  mutating func beginReset() throws(OperationError) {
    try apply(.set(.outOfReset, false), .reset)
    turnInterruptsOff()
  }

  /// Restores COMMAND and interrupts after a reset, and arms the windows.
  ///
  /// - Parameter isInD0: True if the function is in D0. False if it remains in its earlier power state.
  mutating func finishReset(isInD0: Bool) throws(OperationError) {
    if isInD0 {
      config.powerOn()
      try apply(.set(.fullPower, true), .reset)
    }
    if gate.conditions.contains(.alive) { restoreInterrupts() }
    try apply(.set(.outOfReset, true), .reset) { owner in
      if owner.gate.conditions.contains(.alive) { owner.restoreCommand() }
    }
  }

  /// Writes the guest's command register to the device and checks that the device keeps it.
  private mutating func restoreCommand() {
    writeCommand()
    let wanted = deviceCommand.intersection([.ioSpace, .memorySpace, .busMaster])
    guard let found = readCommand() else { return }
    if found.intersection([.ioSpace, .memorySpace, .busMaster]) != wanted {
      warn(
        .restore,
        """
        after the reset: COMMAND reads \(found.rawValue.hexadecimal) instead of the guest's \
        \(wanted.rawValue.hexadecimal)
        """)
    }
  }
}
