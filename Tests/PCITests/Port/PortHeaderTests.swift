// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The type 1 header (PCIe 6.0 §7.5.1.3).
@Suite struct PortHeaderTests {
  private var port = RootPort(RootPort.layout, link: RootPort.link)

  @Test("the port is a PCI bridge of type 1 with one function, and does not use the INTA of its slot")
  func identity() {
    #expect(port.read(ConfigOffset.vendor, 4) == 0x000C_1B36)
    #expect(port.read(ConfigOffset.classRevision, 4) == 0x0604_0000)
    #expect(port.read(ConfigOffset.headerType, 1) == 1)
    #expect(port.read(ConfigOffset.interruptLine) == 0x040B)
    #expect(port.read(ConfigOffset.status) == 0x0010)
    #expect(port.read(ConfigOffset.capabilities, 1) == 0x40)
  }

  @Test("the bus numbers start as the layout says and are writable")
  mutating func buses() {
    #expect(port.read(PortOffset.primaryBus, 4) == 0x0002_0100)
    #expect(port.effects(PortOffset.primaryBus, 1, 7) == [])
    #expect(port.effects(PortOffset.secondaryBus, 2, 0x0803) == [.buses])
    #expect(port.secondaryBus == 3 && port.subordinateBus == 8)
    #expect(port.effects(PortOffset.subordinateBus, 1, 9) == [.buses])
    #expect(port.effects(PortOffset.primaryBus, 4, 0xFF09_0307) == [], "nothing changed")
    #expect(port.read(PortOffset.primaryBus, 4) == 0x0009_0307, "the latency timer is read-only")
    #expect(port.effects(PortOffset.primaryBus, 4, .max) == [.buses])
    #expect(port.read(PortOffset.primaryBus, 4) == 0x00FF_FFFF)
  }

  @Test("the windows start as the layout says")
  func windows() {
    #expect(port.read(PortOffset.memoryBase, 4) == 0xE0F0_E000)
    #expect(port.read(PortOffset.prefetchableBase, 4) == 0xFFF1_0001)
    #expect(port.read(PortOffset.prefetchableBaseHigh, 4) == 0x80)
    #expect(port.read(PortOffset.prefetchableLimitHigh, 4) == 0x8F)
    #expect(port.memory32 == RootPort.layout.memory32)
    #expect(port.memory64 == RootPort.layout.memory64)
  }

  @Test("an empty window has its base above its limit")
  func closedWindows() {
    var layout = RootPort.layout
    layout.memory32 = 0..<0
    layout.memory64 = 0..<0
    let port = RootPort(layout, link: nil)
    #expect(port.read(PortOffset.memoryBase, 4) == 0x0000_FFF0)
    #expect(port.read(PortOffset.prefetchableBase, 4) == 0x0001_FFF1)
    #expect(port.memory32.isEmpty && port.memory64.isEmpty)
  }

  @Test("a window keeps its granule and type; a change is an effect")
  mutating func windowWrites() {
    #expect(port.effects(PortOffset.memoryBase, 4, 0xC01F_C00F) == [.forwarding])
    #expect(port.read(PortOffset.memoryBase, 4) == 0xC010_C000)
    #expect(port.memory32 == 0xC000_0000..<0xC020_0000)
    #expect(port.effects(PortOffset.prefetchableBase, 4, 0x0000_0000) == [.forwarding])
    #expect(port.read(PortOffset.prefetchableBase, 4) == 0x0001_0001)
    #expect(port.effects(PortOffset.prefetchableLimitHigh, 4, 0x100) == [.forwarding])
    #expect(port.memory64 == 0x80_0000_0000..<0x100_0010_0000)
    #expect(port.effects(PortOffset.prefetchableLimitHigh, 4, 0x100) == [])
  }

  @Test("a window may end with the address space")
  mutating func lastWindow() {
    _ = port.effects(PortOffset.prefetchableLimit, 2, 0xFFF0)
    _ = port.effects(PortOffset.prefetchableLimitHigh, 4, .max)
    #expect(port.memory64 == 0x80_0000_0000..<UInt64.max)
  }

  @Test("there is no I/O window, no BAR and no ROM")
  mutating func absent() {
    for offset in [0x10, 0x14, 0x1C, 0x30, 0x38] {
      let width = offset == 0x1C ? 2 : 4
      #expect(port.effects(offset, width, .max) == [])
      #expect(port.read(offset, width) == 0)
    }
  }

  @Test("the command register has the bits of a port without I/O")
  mutating func command() {
    #expect(port.effects(ConfigOffset.command, 2, 0xFFFF) == [.forwarding])
    #expect(port.read(ConfigOffset.command) == 0x0546)
    #expect(port.command.contains(.memorySpace))
    #expect(port.isForwarding)
    #expect(port.effects(ConfigOffset.command, 1, 0x42) == [.forwarding], "Bus Master changed")
    #expect(port.effects(ConfigOffset.command, 1, 0x02) == [])
    #expect(port.effects(ConfigOffset.command, 1, 0) == [.forwarding])
    #expect(!port.isForwarding)
    #expect(port.isReachable, "configuration requests do not need Memory Space Enable")
  }

  @Test("bridge control has parity response, SERR# enable and secondary bus reset")
  mutating func bridgeControl() {
    #expect(port.effects(PortOffset.bridgeControl, 2, 0xFFBF) == [])
    #expect(port.read(PortOffset.bridgeControl) == 0x0003)
    #expect(port.effects(PortOffset.bridgeControl, 2, 0x0040).first == .reset(true))
    #expect(port.read(PortOffset.bridgeControl) == 0x0040)
  }

  @Test("status bits are cleared by writing 1", arguments: [ConfigOffset.status, PortOffset.secondaryStatus])
  mutating func status(_ offset: Int) {
    port.set(PortOffset.systemError | 1 << 8, at: offset)
    let fixed: UInt32 = offset == ConfigOffset.status ? 0x10 : 0
    #expect(port.effects(offset, 2, 0) == [])
    #expect(port.read(offset) == 0x4100 | fixed)
    #expect(port.effects(offset + 1, 1, 0x01) == [])
    #expect(port.read(offset) == 0x4000 | fixed)
    _ = port.effects(offset & ~3, 4, 0x4000_0000)
    #expect(port.read(offset) == fixed)
  }

  @Test("an access beyond the end reads all-ones and is dropped", arguments: [4095, 4096, 5000, -1])
  mutating func beyond(_ offset: Int) {
    #expect(port.read(offset, 4) == .max)
    #expect(port.read(offset, 2) == 0xFFFF)
    #expect(port.effects(offset, 4, .max) == [])
  }
}
