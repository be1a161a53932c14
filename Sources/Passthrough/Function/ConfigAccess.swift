// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Trace

/// Accesses to configuration space.
extension FunctionState {
  /// What a guest reads; all-ones where the function does not answer.
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

  /// Takes a guest's write and does what it means.
  mutating func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(OperationError)
    -> DeferredAction
  {
    guard gate.conditions.isSuperset(of: [.outOfReset, .alive]) else { return .nothing }
    var rest = DeferredAction.nothing
    for effect in config.write(offset: offset, width: width, value) {
      switch effect {
      case .command(let old, let new): try setCommand(from: old, to: new)
      case .base(let bar): try apply(.move(bar: bar), .move)
      case .msi(let old, let new): setMSI(from: old, to: new)
      case .msix(let enabled, let functionMasked):
        setMessageControl(enabled: enabled, functionMasked: functionMasked)
      case .power(let old, let new): if try setPower(from: old, to: new) { rest = .reset(.power) }
      case .forward(let offset, let width, let value): writeDevice(offset, width: width, value)
      case .reset: rest = .reset(.flr)
      }
    }
    return rest
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

  /// Changes the power state; true where the function has to be reset for it.
  private mutating func setPower(
    from old: PowerState, to new: PowerState
  ) throws(OperationError) -> Bool {
    guard let capability = config.capabilities.first(CapabilityID.powerManagement) else { return false }
    let register = capability.offset + 4
    let kept = config.read(offset: register, width: 2)
    if old == .d3hot, new == .d0, !config.keepsStateInD3, configuration.reset.isSafeWhileRunning {
      // The gate has been closed since D3hot; the end of the reset opens it.
      writeDevice(register, width: 2, 0)
      return true
    }
    try apply(.set(.fullPower, new == .d0), .power) { owner in
      // Only the state bits: PME_Status, bit 15, would be cleared by a 1.
      owner.writeDevice(register, width: 2, kept & 0x0003)
      // What the device forgets on its way back it is told again.
      if new == .d0 { owner.writeCommand() }
    }
    if new == .d0 { restoreInterrupts() }
    return false
  }

  /// Closes the gate for a reset, and turns interrupts off for as long.
  mutating func beginReset() throws(OperationError) {
    try apply(.set(.outOfReset, false), .reset)
    turnInterruptsOff()
  }

  /// Gives a function whose reset has ended what the guest had, and arms it.
  ///
  /// - Parameter isInD0: False if nothing has brought the function out of the power state that it was in.
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

  /// Gives the device the guest's command register and checks that it has taken it.
  private mutating func restoreCommand() {
    writeCommand()
    let wanted = deviceCommand.intersection([.ioSpace, .memorySpace, .busMaster])
    guard let found = readCommand() else { return }
    if found.intersection([.ioSpace, .memorySpace, .busMaster]) != wanted {
      warn(
        .restore,
        "after its reset the command register reads \(found.rawValue.hexadecimal), and not "
          + "\(wanted.rawValue.hexadecimal) as the guest had it")
    }
  }
}
