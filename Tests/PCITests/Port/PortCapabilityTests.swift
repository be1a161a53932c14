// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The capabilities and their fixed registers.
@Suite struct PortCapabilityTests {
  private var port = RootPort(RootPort.layout, link: RootPort.link)

  @Test("the chain has PCI Express, MSI and power management")
  func chain() {
    var found: [[UInt32]] = []
    var at = port.read(ConfigOffset.capabilities, 1)
    while at != 0, found.count < 8 {
      found.append([at, port.read(Int(at), 1)])
      at = port.read(Int(at) + 1, 1)
    }
    #expect(found == [[0x40, 0x10], [0x80, 0x05], [0x98, 0x01]])
  }

  @Test("the extended chain has error reporting and access control")
  func extended() {
    #expect(port.read(0x100, 4) == 0x1402_0001)
    #expect(port.read(0x140, 4) == 0x0001_000D)
  }

  @Test("the PCI Express capability describes a root port with a slot")
  func express() {
    #expect(port.read(PortOffset.express + 2) == 0x0142)
    #expect(port.read(PortOffset.express + 4, 4) == 0x8000)
    #expect(port.read(PortOffset.linkCapabilities, 4) == 0x0550_0105)
    #expect(port.read(PortOffset.linkStatus) == 0x2043)
    #expect(port.read(PortOffset.slotCapabilities, 4) == 0x105 << 19 | 0x4_0063)
    #expect(port.read(PortOffset.slotControl) == 0)
    #expect(port.read(PortOffset.slotStatus) == 0x0040)
    #expect(port.read(PortOffset.linkCapabilities2, 4) == 0x3E)
    #expect(port.read(PortOffset.linkControl2) == 5)
    for offset in [0x1E, 0x20, 0x22, 0x24, 0x26, 0x28, 0x2A, 0x32, 0x34, 0x36, 0x38, 0x3A] {
      #expect(port.read(PortOffset.express + offset) == 0)
    }
  }

  @Test("an empty slot has no presence, no link and no power")
  func empty() {
    let port = RootPort(RootPort.layout, link: nil)
    #expect(port.read(PortOffset.slotStatus) == 0)
    #expect(port.read(PortOffset.slotControl) == 0x0400)
    #expect(port.read(PortOffset.linkStatus) == 0x0001)
    #expect(port.read(PortOffset.linkCapabilities, 4) == 0x0550_0105)
    #expect(!port.isOccupied && !port.isPowered && !port.isLinkActive && !port.isReachable)
  }

  @Test("a link at the start raises the maximum; a later link is limited to it")
  func maximumLink() {
    var port = RootPort(RootPort.layout, link: RootPort.Link(speed: 6, width: 8))
    #expect(port.read(PortOffset.linkCapabilities, 4) & 0x3FF == 0x106)
    #expect(port.read(PortOffset.linkCapabilities2, 4) == 0x7E)
    #expect(port.read(PortOffset.linkStatus) == 0x2086)
    port.insert(RootPort.Link(speed: 7, width: 32))
    #expect(port.read(PortOffset.linkStatus) == 0x2106)
  }

  @Test("writable bits of the PCI Express capability")
  mutating func expressWrites() {
    let bits: [(Int, UInt32, UInt32)] = [
      (0x08, 0x000F, 0), (0x10, 0x00C0, 0x10), (0x18, 0x102B, 0x400), (0x1C, 0x000F, 0), (0x28, 0, 0),
      (0x30, 0x000F, 0), (0x38, 0, 0),
    ]
    for (register, writable, active) in bits {
      let at = PortOffset.express + register
      #expect(port.effects(at, 2, 0xFFFF & ~active) == [])
      #expect(port.read(at) == writable, "register \(register)")
      _ = port.effects(at, 2, 0)
      #expect(port.read(at) == 0)
    }
    for register in [0x00, 0x04, 0x0C, 0x14, 0x20, 0x24, 0x2C, 0x34] {
      let before = port.read(PortOffset.express + register, 4)
      #expect(port.effects(PortOffset.express + register, 4, .max) == [])
      #expect(port.read(PortOffset.express + register, 4) == before)
    }
  }

  @Test("MSI has one vector, a 64-bit address and a mask bit")
  mutating func message() {
    #expect(port.read(PortOffset.messageControl) == 0x0180)
    for (offset, value) in [(2, 0x0181), (4, 0xFFFF_FFFC), (8, .max), (12, 0xFFFF), (16, 1), (20, 0)]
      as [(Int, UInt32)]
    {
      let width = offset == 2 ? 2 : 4
      #expect(port.effects(PortOffset.message + offset, width, .max) == [])
      #expect(port.read(PortOffset.message + offset, width) == value)
    }
  }

  @Test("power management has D0 and D3hot; other states are ignored")
  mutating func power() {
    _ = port.effects(ConfigOffset.command, 2, 2)
    #expect(port.read(PortOffset.power + 2) == 3)
    #expect(port.read(PortOffset.powerControl) == 8)
    for state: UInt32 in [1, 2] {
      #expect(port.effects(PortOffset.powerControl, 2, state) == [])
      #expect(port.powerState == .d0)
    }
    #expect(port.effects(PortOffset.powerControl, 2, 0xFFFF) == [.forwarding])
    #expect(port.read(PortOffset.powerControl) == 0x000B)
    #expect(!port.isForwarding && !port.isReachable)
    #expect(port.effects(PortOffset.powerControl, 1, 2) == [])
    #expect(port.powerState == .d3hot)
    #expect(port.effects(PortOffset.powerControl, 1, 0) == [.forwarding])
    #expect(port.isForwarding)
  }

  @Test("access control has source validation, both redirects and upstream forwarding")
  mutating func accessControl() {
    #expect(port.read(PortOffset.accessControl + 4) == 0x1D)
    #expect(port.effects(PortOffset.accessControl + 4, 4, .max) == [])
    #expect(port.read(PortOffset.accessControl + 4, 4) == 0x001D_001D)
  }
}
