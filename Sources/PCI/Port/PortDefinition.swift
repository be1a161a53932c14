// SPDX-License-Identifier: Apache-2.0

/// The initial values and the write masks of the registers.
extension RootPort {
  /// Defines `width` bytes at an offset.
  private mutating func define(
    _ offset: Int, _ width: Int, _ value: UInt32, writable bits: UInt32 = 0, clearable changes: UInt32 = 0
  ) {
    values.set(value, at: offset, width: width)
    writable.set(bits, at: offset, width: width)
    clearable.set(changes, at: offset, width: width)
  }

  /// Defines the type 1 header (PCIe 6.0 §7.5.1.3). The I/O base and limit read 0, because the port has no I/O
  /// window. The port has no BAR and no expansion ROM.
  mutating func defineHeader() {
    // The IDs of QEMU's pcie-root-port. Linux has no quirk for them.
    define(ConfigOffset.vendor, 4, 0x000C_1B36)
    let command: Command = [
      .memorySpace, .busMaster, .parityErrorResponse, .systemErrorEnable, .interruptDisable,
    ]
    define(ConfigOffset.command, 2, 0, writable: UInt32(command.rawValue))
    define(ConfigOffset.status, 2, 0x0010, clearable: 0xF900)
    define(ConfigOffset.classRevision, 4, 0x0604_0000)
    define(ConfigOffset.cacheLineSize, 1, 0, writable: 0xFF)
    define(ConfigOffset.headerType, 1, 1)
    define(PortOffset.primaryBus, 1, 0, writable: 0xFF)
    define(PortOffset.secondaryBus, 1, UInt32(layout.secondaryBus), writable: 0xFF)
    define(PortOffset.subordinateBus, 1, UInt32(layout.subordinateBus), writable: 0xFF)
    define(PortOffset.secondaryStatus, 2, 0, clearable: 0xF900)
    defineWindows()
    define(ConfigOffset.capabilities, 1, UInt32(PortOffset.express))
    define(ConfigOffset.interruptLine, 1, UInt32(layout.interruptLine), writable: 0xFF)
    define(ConfigOffset.interruptPin, 1, UInt32(Self.interruptPin) + 1)
    // Parity Error Response, SERR# Enable and Secondary Bus Reset.
    define(PortOffset.bridgeControl, 2, 0, writable: 0x43)
  }

  /// Defines the memory windows. A closed window has its base above its limit.
  private mutating func defineWindows() {
    let isOpen32 = !layout.memory32.isEmpty
    let isOpen64 = !layout.memory64.isEmpty
    let base32 = isOpen32 ? layout.memory32.lowerBound : 0xFFF0_0000
    let base64 = isOpen64 ? layout.memory64.lowerBound : 0xFFF0_0000
    let limit32 = isOpen32 ? layout.memory32.upperBound - 1 : 0
    let limit64 = isOpen64 ? layout.memory64.upperBound - 1 : 0
    define(PortOffset.memoryBase, 2, Self.addressBits(base32), writable: 0xFFF0)
    define(PortOffset.memoryLimit, 2, Self.addressBits(limit32), writable: 0xFFF0)
    // Bits 3:0 are 1: the window has 64-bit addresses (PCIe 6.0 §7.5.1.3.9).
    define(PortOffset.prefetchableBase, 2, Self.addressBits(base64) | 1, writable: 0xFFF0)
    define(PortOffset.prefetchableLimit, 2, Self.addressBits(limit64) | 1, writable: 0xFFF0)
    define(PortOffset.prefetchableBaseHigh, 4, UInt32(base64 >> 32), writable: .max)
    define(PortOffset.prefetchableLimitHigh, 4, UInt32(limit64 >> 32), writable: .max)
  }

  /// Returns the address bits 31:20 as in bits 15:4 of a base or limit register.
  private static func addressBits(_ address: UInt64) -> UInt32 { UInt32(address >> 16 & 0xFFF0) }

  /// Defines the PCI Express capability (PCIe 6.0 §7.5.3).
  mutating func defineExpress(maximum: Link) {
    let at = PortOffset.express
    let speed = UInt32(maximum.speed & 0xF)
    capability(at, CapabilityID.express, next: PortOffset.message)
    // Version 2, root port (type 4), Slot Implemented, interrupt message number 0.
    define(at + 2, 2, 2 | 4 << 4 | 1 << 8)
    // Role-Based Error Reporting. The port has payloads of 128 bytes and issues no request, so the fields for
    // payload, request size, relaxed ordering and snoop are read-only 0.
    define(at + 4, 4, 1 << 15)
    define(PortOffset.deviceControl, 2, 0, writable: 0xF)
    define(PortOffset.deviceStatus, 2, 0, clearable: 0xF)
    // Data Link Layer Link Active Reporting, ASPM Optionality Compliance, and the port number. The link has no
    // ASPM, no Surprise Down Error Reporting and no bandwidth notification.
    define(
      PortOffset.linkCapabilities, 4,
      speed | UInt32(maximum.width & 0x3F) << 4 | 1 << 20 | 1 << 22 | UInt32(layout.slot & 0xFF) << 24)
    // Link Disable, Common Clock Configuration and Extended Synch. Retrain Link reads 0.
    define(PortOffset.linkControl, 2, 0, writable: 0xD0)
    // Attention button, power controller, hot-plug surprise, hot-plug capable, No Command Completed Support.
    // There is no MRL sensor, no indicator and no interlock.
    define(PortOffset.slotCapabilities, 4, 0x4_0063 | UInt32(layout.slot & 0x1FFF) << 19)
    // The enables of the events that exist, Hot-Plug Interrupt Enable and Power Controller Control.
    define(PortOffset.slotControl, 2, 0, writable: 0x142B)
    define(PortOffset.slotStatus, 2, 0, clearable: UInt32(SlotStatus.changes.rawValue))
    // System errors on error messages, and PME Interrupt Enable. The port receives no PME.
    define(PortOffset.rootControl, 2, 0, writable: 0xF)
    // The supported speeds: every speed up to the maximum (§7.5.3.18).
    define(PortOffset.linkCapabilities2, 4, (1 << speed - 1) << 1)
    define(PortOffset.linkControl2, 2, speed, writable: 0xF)
  }

  /// Defines MSI and power management.
  mutating func defineOtherCapabilities() {
    capability(PortOffset.message, CapabilityID.messageSignaled, next: PortOffset.power)
    // One vector, a 64-bit address, per-vector masking. MSI Enable is writable (PCIe 6.0 §7.7.1.2).
    define(PortOffset.messageControl, 2, 0x180, writable: 1)
    define(PortOffset.messageAddress, 4, 0, writable: ~3)
    define(PortOffset.messageAddress + 4, 4, 0, writable: .max)
    define(PortOffset.messageData, 2, 0, writable: 0xFFFF)
    define(PortOffset.messageMask, 4, 0, writable: 1)
    capability(PortOffset.power, CapabilityID.powerManagement, next: 0)
    // Version 3 with D0 and D3hot. The port signals no PME. No_Soft_Reset is set.
    define(PortOffset.power + 2, 2, 3)
    define(PortOffset.powerControl, 2, 0x0008, writable: 3)
  }

  /// Defines the extended capabilities.
  mutating func defineExtended() {
    // Version 2, and the next capability.
    let header = UInt32(ExtendedCapabilityID.errorReporting) | 2 << 16
    define(PortOffset.errors, 4, header | UInt32(PortOffset.accessControl) << 20)
    // Each error of PCIe 6.0 §7.8.4.2 up to Uncorrectable Internal Error but Surprise Down. The severities and
    // masks have their default values (§7.8.4.3, §7.8.4.4).
    let uncorrectable: UInt32 = 0x007F_F010
    define(PortOffset.uncorrectableStatus, 4, 0, clearable: uncorrectable)
    define(PortOffset.uncorrectableMask, 4, 0x0040_0000, writable: uncorrectable)
    define(PortOffset.uncorrectableSeverity, 4, 0x0046_2010, writable: uncorrectable)
    let correctable: UInt32 = 0x0000_F1C1
    define(PortOffset.correctableStatus, 4, 0, clearable: correctable)
    define(PortOffset.correctableMask, 4, 0x0000_E000, writable: correctable)
    define(PortOffset.rootErrorCommand, 4, 0, writable: 7)
    define(PortOffset.rootErrorStatus, 4, 0, clearable: 0x7F)

    // Source Validation, Request Redirect, Completion Redirect and Upstream Forwarding (PCIe 6.0 §7.7.11).
    define(PortOffset.accessControl, 4, UInt32(ExtendedCapabilityID.accessControl) | 1 << 16)
    define(PortOffset.accessControl + 4, 2, 0x1D)
    define(PortOffset.accessControl + 6, 2, 0, writable: 0x1D)
  }

  /// Defines the header of a capability.
  private mutating func capability(_ offset: Int, _ id: UInt8, next: Int) {
    define(offset, 2, UInt32(id) | UInt32(next) << 8)
  }
}
