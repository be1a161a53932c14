// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// Accesses to configuration space.
extension FunctionState {
  /// What a guest reads; all-ones where the function does not answer.
  func readConfig(_ offset: Int, width: Int) -> UInt32 {
    let ones = UInt32.max >> UInt32(32 - width * 8)
    guard gate.conditions.isSuperset(of: [.outOfReset, .alive]) else { return ones }
    guard config.needsDevice(offset: offset, width: width) else {
      return config.read(offset: offset, width: width)
    }
    do throws(KernelError) {
      let value = try device.read(Device.configRegion, offset: UInt64(offset), width: width)
      return config.read(offset: offset, width: width, device: UInt32(truncatingIfNeeded: value))
    } catch {
      warn("\(error)")
      return ones
    }
  }

  /// Takes a guest's write and does what it means.
  mutating func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(KernelError) -> Rest {
    guard gate.conditions.isSuperset(of: [.outOfReset, .alive]) else { return .nothing }
    var rest = Rest.nothing
    for effect in config.write(offset: offset, width: width, value) {
      switch effect {
      case .command(let old, let new): try setCommand(from: old, to: new)
      case .base(let bar): try pass(.move(bar: bar), .move)
      case .msix(let enabled, let functionMasked):
        try setMessageControl(enabled: enabled, functionMasked: functionMasked)
      case .power(_, let state): try setPower(state)
      case .forward(let offset, let width, let value): writeDevice(offset, width: width, value)
      case .reset: rest = .reset
      }
    }
    return rest
  }

  private mutating func setCommand(from old: Command, to new: Command) throws(KernelError) {
    if new.contains(.busMaster), !old.contains(.busMaster) { try host.dma.waitUntilPinned() }
    let write: (FunctionState) -> Void = { state in
      let start = Clock.microseconds()
      state.writeDevice(Register.command, width: 2, UInt32(new.rawValue))
      state.observe(.command(old: old.rawValue, new: new.rawValue), Clock.microseconds() - start)
    }
    switch (gate.conditions.contains(.memoryEnabled), new.contains(.memorySpace)) {
    case (true, false): try pass(.set(.memoryEnabled, false), .command, apply: write)
    case (false, true): try pass(.set(.memoryEnabled, true), .command, apply: write)
    default: write(self)
    }
  }

  private mutating func setMessageControl(
    enabled: Bool, functionMasked: Bool
  ) throws(KernelError) {
    guard var table else { return }
    let changes = table.setControl(enabled: enabled, functionMasked: functionMasked)
    self.table = table
    if enabled { try vectors?.enable() }
    for change in changes { try apply(change) }
    if !enabled {
      try vectors?.disable()
      try vectors?.clearPending()
    }
  }

  /// Carries a change of the MSI-X table over to the host.
  mutating func apply(_ change: MSIXTable.Change) throws(KernelError) {
    let start = Clock.microseconds()
    guard let table, let steps = try vectors?.apply(change, table) else { return }
    for (vector, step) in steps { observe(.vector(vector, step), Clock.microseconds() - start) }
  }

  private mutating func setPower(_ state: PowerState) throws(KernelError) {
    guard let capability = config.capabilities.first(CapabilityID.powerManagement) else { return }
    let register = capability.offset + 4
    let command = config.command
    let kept = config.read(offset: register, width: 2)
    let write: (FunctionState) -> Void = { owner in
      // Only the state bits: PME_Status, bit 15, would be cleared by a 1.
      owner.writeDevice(register, width: 2, kept & 0x0003)
      // Coming back from D3hot may have reset the function: give it what the guest had.
      if state == .d0 { owner.writeDevice(Register.command, width: 2, UInt32(command.rawValue)) }
    }
    try pass(.set(.fullPower, state == .d0), .power, apply: write)
  }

  /// Closes the gate for a reset.
  mutating func beginReset() throws(KernelError) {
    try pass(.set(.outOfReset, false), .reset)
  }

  /// Gives a function that has been reset what the guest had, and arms it.
  mutating func finishReset() throws(KernelError) {
    config.powerOn()
    let command = config.command
    try pass(.set(.fullPower, true), .reset)
    try pass(.set(.outOfReset, true), .reset) { owner in
      owner.writeDevice(Register.command, width: 2, UInt32(command.rawValue))
    }
  }
}
