// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// Hot plug (PCIe 6.0 §6.7) in the order in which Linux's pciehp acts.
@Suite struct PortSlotTests {
  private static let both: SlotStatus = [.presenceChanged, .linkChanged]

  @Test("an insertion shows presence and link; the function is reachable after the power-on")
  func insertion() {
    var port = RootPort.probed(link: nil)
    port.insert(RootPort.link)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.read(PortOffset.slotStatus) == 0x0148)
    #expect(port.read(PortOffset.linkStatus) == 0x2043)
    #expect(port.isOccupied && port.isLinkActive && !port.isPowered && !port.isReachable)
    #expect(port.takeEvents() == Self.both)
    #expect(port.setPower(true) == [.power(true), .forwarding])
    #expect(port.isForwarding)
    #expect(port.takeMessage() == nil, "the link was active before")
  }

  @Test("the button and the power-off remove a function gracefully")
  func removal() {
    var port = RootPort.probed()
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.takeEvents() == .buttonPressed)
    #expect(port.setPower(false) == [.power(false), .eject, .forwarding, .interrupt])
    #expect(port.isOccupied && !port.isPowered && !port.isLinkActive && !port.isForwarding)
    #expect(port.read(PortOffset.linkStatus) == 0x0001)
    #expect(port.takeMessage() == RootPort.message, "the link changed")
    #expect(port.takeEvents() == .linkChanged)
    port.empty()
    #expect(port.takeMessage() == nil, "pciehp does not enable the presence change")
    #expect(port.read(PortOffset.slotStatus) == 0x0008)
    #expect(!port.isOccupied)
    #expect(port.setPower(false) == [])
  }

  @Test("a slot takes another function after a removal")
  func insertionAfterRemoval() {
    var port = RootPort.probed()
    _ = port.setPower(false)
    port.empty()
    _ = port.takeEvents()
    _ = port.takeMessage()
    port.insert(RootPort.Link(speed: 1, width: 1))
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.takeEvents() == Self.both)
    #expect(port.read(PortOffset.linkStatus) == 0x2011)
    #expect(port.setPower(true) == [.power(true), .forwarding])
    #expect(port.setPower(false).contains(.eject))
  }

  @Test("the power-off of an empty slot is not an eject")
  func emptyPower() {
    var port = RootPort.probed(link: nil)
    #expect(port.setPower(true) == [.power(true)])
    #expect(port.setPower(false) == [.power(false)])
  }

  @Test("a power-on before the slot is emptied brings the link up")
  func powerCycle() {
    var port = RootPort.probed()
    _ = port.setPower(false)
    _ = port.takeEvents()
    _ = port.takeMessage()
    #expect(port.setPower(true) == [.power(true), .forwarding, .interrupt])
    #expect(port.isForwarding)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.takeEvents() == .linkChanged)
    #expect(port.setPower(true) == [])
    #expect(port.setPower(false).contains(.eject))
  }

  @Test("a surprise removal clears presence and link at once")
  func surprise() {
    var port = RootPort.probed()
    port.removeBySurprise()
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.read(PortOffset.slotStatus) == 0x0108)
    #expect(!port.isOccupied && !port.isLinkActive && !port.isForwarding && port.isPowered)
    #expect(port.takeEvents() == Self.both)
    #expect(port.setPower(false) == [.power(false)])
    port.insert(RootPort.link)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.setPower(true) == [.power(true), .forwarding])
    #expect(port.setPower(false).contains(.eject))
  }

  @Test("a surprise removal with an inactive link still records a link change")
  func surpriseWithoutLink() {
    var port = RootPort.probed()
    port.setLinkActive(false)
    _ = port.takeEvents()
    port.removeBySurprise()
    #expect(port.takeEvents() == Self.both)
    #expect(!port.holdsLink, "the next function is not held down")
  }

  @Test("the power-off for a predecessor is not an eject of its successor")
  func replacement() {
    var port = RootPort.probed()
    port.removeBySurprise()
    port.insert(RootPort.link)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.takeMessage() == nil, "one message for both events")
    #expect(port.takeEvents() == Self.both)
    #expect(port.setPower(false) == [.power(false), .forwarding, .interrupt])
    #expect(port.setPower(true).contains(.forwarding))
    #expect(port.isForwarding)
    #expect(port.setPower(false).contains(.eject))
  }

  @Test("an insertion into an occupied slot is a replacement")
  func directReplacement() {
    var port = RootPort.probed()
    port.report(.fatal, source: 0x100, isOwn: false)
    port.insert(RootPort.Link(speed: 4, width: 1))
    #expect(port.takeEvents() == Self.both)
    #expect(port.read(PortOffset.linkStatus) == 0x2014)
    #expect(!port.isContained)
  }

  @Test("the removal of an empty slot has no effect")
  func nothing() {
    var port = RootPort.probed(link: nil)
    port.removeBySurprise()
    port.empty()
    port.setLinkActive(true)
    #expect(port.read(PortOffset.slotStatus) == 0)
    #expect(port.takeMessage() == nil)
  }

  @Test("a second press of the button is an event after the guest has cleared the first")
  func button() {
    var port = RootPort.probed()
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
    port.pressButton()
    #expect(port.takeMessage() == nil, "the bit is still set")
    #expect(port.takeEvents() == .buttonPressed)
    port.pressButton()
    #expect(port.takeMessage() == RootPort.message)
  }

  @Test("slot status is cleared by writing 1 in bytes, words and doublewords")
  func clearing() {
    var port = RootPort.probed(link: nil)
    port.insert(RootPort.link)
    port.pressButton()
    #expect(port.read(PortOffset.slotStatus) == 0x0149)
    _ = port.effects(PortOffset.slotStatus, 1, 0x08)
    #expect(port.read(PortOffset.slotStatus) == 0x0141)
    _ = port.effects(PortOffset.slotStatus + 1, 1, 0x01)
    #expect(port.read(PortOffset.slotStatus) == 0x0041)
    _ = port.effects(PortOffset.slotStatus, 2, 0xFFFE)
    #expect(port.read(PortOffset.slotStatus) == 0x0041)
    let control = port.read(PortOffset.slotControl)
    _ = port.effects(PortOffset.slotControl, 4, control | 0x0001_0000)
    #expect(port.read(PortOffset.slotControl, 4) == control | 0x0040_0000)
  }
}
