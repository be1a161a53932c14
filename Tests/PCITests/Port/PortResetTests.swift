// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// Hot resets of the slot (PCIe 6.0 §6.6.1, §7.5.1.3.13).
@Suite struct PortResetTests {
  private static let control = PortOffset.bridgeControl
  private var port = RootPort.probed()

  @Test("a secondary bus reset takes the link down while its bit is set")
  mutating func reset() {
    #expect(port.effects(Self.control, 2, 0x42) == [.reset(true), .forwarding, .interrupt])
    #expect(port.isResetting && !port.isLinkActive && !port.isReachable && port.isOccupied)
    #expect(port.effects(Self.control, 1, 0x42) == [.interrupt], "the message of the link is still owed")
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.takeEvents() == .linkChanged)
    #expect(port.effects(Self.control, 2, 0x02) == [.reset(false), .forwarding, .interrupt])
    #expect(port.isForwarding)
    #expect(port.takeEvents() == .linkChanged)
  }

  @Test("pciehp's masked reset has no interrupt")
  mutating func masked() {
    _ = port.effects(PortOffset.slotControl, 2, 0x21)
    #expect(port.effects(Self.control, 2, 0x42) == [.reset(true), .forwarding])
    #expect(port.effects(Self.control, 2, 0x02) == [.reset(false), .forwarding])
    #expect(port.takeEvents() == .linkChanged)
    #expect(port.effects(PortOffset.slotControl, 2, 0x1021) == [])
    #expect(port.takeMessage() == nil)
  }

  @Test("the owner holds the link down until the host's reset has ended")
  mutating func held() {
    _ = port.effects(Self.control, 2, 0x42)
    port.setLinkActive(false)
    #expect(port.effects(Self.control, 2, 0x02).first == .reset(false))
    #expect(!port.isLinkActive && port.holdsLink && !port.isForwarding)
    _ = port.takeEvents()
    _ = port.takeMessage()
    port.setLinkActive(true)
    #expect(port.isForwarding && !port.holdsLink)
    #expect(port.takeMessage() == RootPort.message)
  }

  @Test("a released link stays down while the guest resets")
  mutating func released() {
    _ = port.effects(Self.control, 2, 0x42)
    port.setLinkActive(false)
    port.setLinkActive(true)
    #expect(!port.isLinkActive)
    _ = port.effects(Self.control, 2, 0x02)
    #expect(port.isLinkActive)
  }

  @Test("a released link stays down while the power is off")
  mutating func releasedWithoutPower() {
    _ = port.setPower(false)
    port.setLinkActive(false)
    port.setLinkActive(true)
    #expect(!port.isLinkActive)
    _ = port.setPower(true)
    #expect(port.isLinkActive)
  }

  @Test("Link Disable is a hot reset")
  mutating func disabled() {
    #expect(port.effects(PortOffset.linkControl, 2, 0x10) == [.reset(true), .forwarding, .interrupt])
    #expect(port.effects(Self.control, 2, 0x42) == [.interrupt], "a reset is in progress")
    #expect(port.effects(PortOffset.linkControl, 2, 0) == [.interrupt])
    #expect(!port.isLinkActive)
    #expect(port.effects(Self.control, 2, 0x02).first == .reset(false))
    #expect(port.isLinkActive)
  }

  @Test("the reset of an empty slot is an effect without a link")
  func empty() {
    var port = RootPort.probed(link: nil)
    #expect(port.effects(Self.control, 2, 0x42) == [.reset(true)])
    port.insert(RootPort.link)
    #expect(!port.isLinkActive)
    #expect(port.effects(Self.control, 2, 0x02) == [.reset(false), .interrupt])
    #expect(port.isLinkActive)
  }

  @Test("a reset ends the containment when its bit is cleared")
  mutating func containment() {
    port.report(.fatal, source: 0x100, isOwn: false)
    _ = port.effects(Self.control, 2, 0x42)
    #expect(port.isContained)
    port.setLinkActive(false)
    _ = port.effects(Self.control, 2, 0x02)
    #expect(!port.isContained && !port.isForwarding)
    port.setLinkActive(true)
    #expect(port.isForwarding)
  }
}
