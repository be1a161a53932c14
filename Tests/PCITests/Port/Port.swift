// SPDX-License-Identifier: Apache-2.0

@testable import PCI

extension RootPort {
  static let link = Link(speed: 3, width: 4)

  static let layout = Layout(
    slot: 0x105, secondaryBus: 1, subordinateBus: 2, memory32: 0xE000_0000..<0xE100_0000,
    memory64: 0x80_0000_0000..<0x90_0000_0000, interruptLine: 11)

  /// A port with a function, as Linux leaves it after the probe of its drivers.
  static func probed(link: Link? = link, isMessage: Bool = true) -> RootPort {
    var port = RootPort(layout, link: link)
    _ = port.write(offset: ConfigOffset.command, width: 2, isMessage ? 0x406 : 0x006)
    if isMessage {
      _ = port.write(offset: PortOffset.messageAddress, width: 4, 0xFEE0_1000)
      _ = port.write(offset: PortOffset.messageAddress + 4, width: 4, 1)
      _ = port.write(offset: PortOffset.messageData, width: 2, 0x4021)
      _ = port.write(offset: PortOffset.messageControl, width: 2, 1)
    }
    _ = port.write(offset: PortOffset.bridgeControl, width: 2, 2)
    _ = port.write(offset: PortOffset.deviceControl, width: 2, 0xF)
    _ = port.write(offset: PortOffset.rootErrorCommand, width: 4, 7)
    // Button, link change, hot-plug interrupt. The power keeps its state.
    _ = port.write(
      offset: PortOffset.slotControl, width: 2, UInt32(port.slotControl.union(.linux).rawValue))
    return port
  }

  static let message = MSIMessage(address: 0x1_FEE0_1000, data: 0x4021)

  /// Performs a write and returns its effects.
  mutating func effects(_ offset: Int, _ width: Int, _ value: UInt32) -> [Effect] {
    Array(write(offset: offset, width: width, value))
  }

  /// Switches the slot's power as pciehp does.
  mutating func setPower(_ isOn: Bool) -> [Effect] {
    let control = isOn ? slotControl.subtracting(.powerOff) : slotControl.union(.powerOff)
    return effects(PortOffset.slotControl, 2, UInt32(control.rawValue))
  }

  /// Reads and clears the events of the slot as pciehp does.
  mutating func takeEvents() -> SlotStatus {
    let events = slotStatus.intersection(.changes)
    _ = write(offset: PortOffset.slotStatus, width: 2, UInt32(events.rawValue))
    return events
  }

  /// Reads a register.
  func read(_ offset: Int, _ width: Int = 2) -> UInt32 { read(offset: offset, width: width) }
}

extension SlotControl {
  /// The enables that pciehp sets for a slot with a button.
  static let linux: SlotControl = [SlotControl(rawValue: 1), .hotPlugInterrupt, .linkChangedEnable]
}
