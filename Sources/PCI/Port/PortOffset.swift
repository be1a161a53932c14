// SPDX-License-Identifier: Apache-2.0

/// Offsets in a root port's configuration space, and bits of its registers. The registers of the type 0 header
/// that also exist here are in ``ConfigOffset``.
enum PortOffset {
  // The type 1 header (PCIe 6.0 §7.5.1.3).
  static let primaryBus = 0x18
  static let secondaryBus = 0x19
  static let subordinateBus = 0x1A
  static let secondaryStatus = 0x1E
  static let memoryBase = 0x20
  static let memoryLimit = 0x22
  static let prefetchableBase = 0x24
  static let prefetchableLimit = 0x26
  static let prefetchableBaseHigh = 0x28
  static let prefetchableLimitHigh = 0x2C
  static let bridgeControl = 0x3E

  /// Bridge Control: SERR# Enable (§7.5.1.3.13).
  static let forwardsErrors: UInt16 = 1 << 1
  /// Bridge Control: Secondary Bus Reset.
  static let secondaryBusReset: UInt16 = 1 << 6
  /// Status: Interrupt Status (§7.5.1.1.4).
  static let interruptStatus: UInt16 = 1 << 3
  /// Status: Signaled System Error. Secondary Status: Received System Error (§7.5.1.3.7).
  static let systemError: UInt16 = 1 << 14

  // The PCI Express capability (PCIe 6.0 §7.5.3).
  static let express = 0x40
  static let deviceControl = express + 0x08
  static let deviceStatus = express + 0x0A
  static let linkCapabilities = express + 0x0C
  static let linkControl = express + 0x10
  static let linkStatus = express + 0x12
  static let slotCapabilities = express + 0x14
  static let slotControl = express + 0x18
  static let slotStatus = express + 0x1A
  static let rootControl = express + 0x1C
  static let linkCapabilities2 = express + 0x2C
  static let linkControl2 = express + 0x30

  /// Link Control: Link Disable (§7.5.3.7).
  static let linkDisable: UInt16 = 1 << 4
  /// Link Status: Data Link Layer Link Active (§7.5.3.8).
  static let linkActive: UInt16 = 1 << 13

  // MSI with a 64-bit address and a mask (PCIe 6.0 §7.7.1).
  static let message = 0x80
  static let messageControl = message + 2
  static let messageAddress = message + 4
  static let messageData = message + 12
  static let messageMask = message + 16
  static let messagePending = message + 20

  // Power management (PCI PM 1.2 §3.2).
  static let power = 0x98
  static let powerControl = power + 4

  // Advanced error reporting (PCIe 6.0 §7.8.4).
  static let errors = 0x100
  static let uncorrectableStatus = errors + 0x04
  static let uncorrectableMask = errors + 0x08
  static let uncorrectableSeverity = errors + 0x0C
  static let correctableStatus = errors + 0x10
  static let correctableMask = errors + 0x14
  static let errorControl = errors + 0x18
  static let rootErrorCommand = errors + 0x2C
  static let rootErrorStatus = errors + 0x30
  static let errorSource = errors + 0x34

  // Access control services (PCIe 6.0 §7.7.11).
  static let accessControl = 0x140
}
