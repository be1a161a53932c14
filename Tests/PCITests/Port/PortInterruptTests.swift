// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The rules for MSI and INTD (PCIe 6.0 §6.7.3.4, §6.2.4.1.2).
@Suite struct PortInterruptTests {
  private var port = RootPort.probed()

  @Test("a message is sent when the enabled events change from none to some")
  mutating func edge() {
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
    port.setLinkActive(false)
    #expect(port.takeMessage() == nil, "an event was already set")
    #expect(port.effects(PortOffset.slotStatus, 2, 1) == [], "the link change remains")
    #expect(port.takeMessage() == nil)
    #expect(port.effects(PortOffset.slotStatus, 2, 0x100) == [])
    port.setLinkActive(true)
    #expect(port.takeMessage() == RootPort.message)
  }

  @Test("an error is sent while an event of the slot is set, and the reverse")
  mutating func separateCauses() {
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
    port.report(.correctable, source: 8, isOwn: false)
    #expect(port.takeMessage() == RootPort.message)
    port.report(.fatal, source: 8, isOwn: false)
    #expect(port.takeMessage() == nil)
    _ = port.takeEvents()
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
  }

  @Test("a disabled event sends when it is enabled", arguments: [0x1021, 0x0021, 0x1020, 0x0020, 0x1001])
  mutating func enables(_ control: UInt32) {
    _ = port.effects(PortOffset.slotControl, 2, 0)
    port.pressButton()
    #expect(port.takeMessage() == nil)
    #expect(port.effects(PortOffset.slotControl, 2, control & ~0x21) == [])
    let sends = control & 0x21 == 0x21
    #expect(port.effects(PortOffset.slotControl, 2, control) == (sends ? [.interrupt] : []))
    #expect((port.takeMessage() != nil) == sends)
  }

  @Test("each event has its enable", arguments: [(0x0001, 0x0001), (0x0008, 0x0008), (0x1000, 0x0100)])
  mutating func events(_ enable: UInt32, _ event: UInt32) {
    _ = port.effects(PortOffset.slotControl, 2, 0x20 | enable)
    for status: SlotStatus in [.buttonPressed, .presenceChanged, .linkChanged] {
      port.slotStatus = [.present, status]
      port.updateInterrupt()
      #expect((port.takeMessage() != nil) == (UInt32(status.rawValue) == event))
      _ = port.takeEvents()
    }
  }

  @Test("a masked vector is pending and sends when it is unmasked")
  mutating func mask() {
    _ = port.effects(PortOffset.messageMask, 4, 1)
    port.pressButton()
    #expect(port.takeMessage() == nil)
    #expect(port.read(PortOffset.messagePending, 4) == 1)
    #expect(port.effects(PortOffset.messageMask, 4, 0) == [.interrupt])
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.read(PortOffset.messagePending, 4) == 0)
    _ = port.takeEvents()
    _ = port.effects(PortOffset.messageMask, 4, 1)
    port.pressButton()
    _ = port.takeEvents()
    #expect(port.read(PortOffset.messagePending, 4) == 0, "the event is satisfied")
    #expect(port.effects(PortOffset.messageMask, 4, 0) == [])
  }

  @Test("an event that remains sends again after the vector was masked or disabled")
  mutating func again() {
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
    for (offset, off, on) in [(PortOffset.messageMask, 1, 0), (PortOffset.messageControl, 0, 1)]
      as [(Int, UInt32, UInt32)]
    {
      _ = port.effects(offset, 2, off)
      #expect(port.takeMessage() == nil)
      #expect(port.effects(offset, 2, on).contains(.interrupt))
      #expect(port.takeMessage() == RootPort.message)
    }
  }

  @Test("a message waits for MSI Enable, Bus Master and D0")
  mutating func disabled() {
    for (offset, off, on) in [
      (PortOffset.messageControl, 0, 1), (ConfigOffset.command, 0x402, 0x406),
      (PortOffset.powerControl, 3, 0),
    ] as [(Int, UInt32, UInt32)] {
      _ = port.effects(offset, 2, off)
      port.pressButton()
      #expect(port.takeMessage() == nil, "\(offset)")
      #expect(!port.isINTxAsserted)
      #expect(port.effects(offset, 2, on).contains(.interrupt))
      #expect(port.takeMessage() == RootPort.message)
      _ = port.takeEvents()
    }
  }

  @Test("a message that is owed is dropped when MSI is disabled")
  mutating func dropped() {
    port.pressButton()
    _ = port.effects(PortOffset.messageControl, 2, 0)
    #expect(port.takeMessage() == nil)
  }

  @Test("INTD is the level of the same condition")
  func level() {
    var port = RootPort.probed(isMessage: false)
    #expect(!port.isINTxAsserted)
    port.pressButton()
    port.report(.fatal, source: 8, isOwn: false)
    #expect(port.isINTxAsserted)
    #expect(port.takeMessage() == nil)
    #expect(port.read(ConfigOffset.status) & 8 != 0)
    #expect(port.effects(PortOffset.slotStatus, 2, 1) == [], "the error remains")
    #expect(port.isINTxAsserted)
    #expect(port.effects(PortOffset.rootErrorStatus, 4, 0x7F) == [.interrupt])
    #expect(!port.isINTxAsserted)
    #expect(port.read(ConfigOffset.status) & 8 == 0)
  }

  @Test("Interrupt Disable lowers INTD and keeps Interrupt Status")
  func interruptDisable() {
    var port = RootPort.probed(isMessage: false)
    port.pressButton()
    #expect(port.effects(ConfigOffset.command, 2, 0x406) == [.interrupt])
    #expect(!port.isINTxAsserted)
    #expect(port.read(ConfigOffset.status) & 8 != 0)
    #expect(port.effects(ConfigOffset.command, 2, 0x006) == [.interrupt])
    #expect(port.isINTxAsserted)
    #expect(port.effects(PortOffset.messageControl, 2, 1) == [.interrupt])
    #expect(!port.isINTxAsserted, "MSI replaces INTD")
    #expect(port.read(ConfigOffset.status) & 8 == 0)
  }
}
