// SPDX-License-Identifier: Apache-2.0

/// A PCI Express root port with a slot (PCIe 6.0 §7.5.1.3, §7.5.3).
struct RootPort {
  let function: PCIFunction
  private let express: UInt16

  /// Offsets in the header of a bridge.
  private enum Register {
    static let secondaryBus: UInt16 = 0x19
    static let bridgeControl: UInt16 = 0x3E
  }

  /// Offsets in the PCI Express capability.
  private enum Express {
    static let id: UInt8 = 0x10
    static let slotControl: UInt16 = 0x18
    static let slotStatus: UInt16 = 0x1A
  }

  /// Creates a port, or nil for a function that is not a bridge.
  init?(_ function: PCIFunction) {
    guard !function.isEndpoint, let express = function.capability(Express.id) else { return nil }
    (self.function, self.express) = (function, express)
  }

  /// Returns the port of a function, or nil for a function on bus 0.
  static func above(_ function: PCIFunction) -> RootPort? {
    guard function.bus != 0 else { return nil }
    for slot in UInt8(0)..<32 {
      let candidate = PCIFunction(slot: slot, function: 0)
      if candidate.isPresent, let port = RootPort(candidate), port.bus == function.bus { return port }
    }
    return nil
  }

  private var bus: UInt8 { function.load8(Register.secondaryBus) }

  /// The function in the slot, or nil if the slot is empty.
  var occupant: PCIFunction? {
    let behind = PCIFunction(slot: 0, function: 0, bus: bus)
    return behind.bus != 0 && behind.isPresent ? behind : nil
  }

  /// Forwards memory requests in both directions.
  func forward() { function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true) }

  /// Begins or ends a reset of the slot (Secondary Bus Reset).
  func setReset(_ on: Bool) {
    let control = function.load16(Register.bridgeControl)
    function.store16(Register.bridgeControl, on ? control | 1 << 6 : control & ~(1 << 6))
  }

  /// Takes the events of the slot, and clears them. Bit 0 is a press of the attention button.
  func takeEvents() -> UInt16 {
    let events = function.load16(express + Express.slotStatus) & 0x11F
    function.store16(express + Express.slotStatus, events)
    return events
  }

  /// True if a function is in the slot, also if the slot has no power (Presence Detect State).
  var isOccupied: Bool { function.load16(express + Express.slotStatus) & 1 << 6 != 0 }

  /// Switches the slot's power off or on.
  func setPower(_ on: Bool) {
    let control = function.load16(express + Express.slotControl)
    function.store16(express + Express.slotControl, on ? control & ~(1 << 10) : control | 1 << 10)
  }
}
