// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct CapabilityListTests {
  @Test("supported capabilities are shown and others are hidden, each with its size")
  func split() {
    let list = CapabilityList(Function().config)
    #expect(
      list.shown.map(\.offset) == [
        Function.power, Function.message, Function.msix, Function.express, Function.features, Function.vendor,
      ])
    #expect(list.shown.map(\.size) == [8, 24, 12, 0x3C, 6, 16])
    #expect(list.hidden == [Capability(id: 0x14, offset: Function.hidden, size: 0x20)])
    #expect(list.first(CapabilityID.msix)?.offset == Function.msix)
    #expect(list.first(0x14) == nil)
  }

  @Test("MSI control bits determine its size", arguments: [(0, 10), (0x80, 14), (0x100, 20), (0x180, 24)])
  func messageSize(_ control: UInt32, _ size: Int) {
    var function = Function()
    function.capability(Function.message, 5, control)
    #expect(CapabilityList(function.config).first(CapabilityID.messageSignaled)?.size == size)
    // A capability without enough space is hidden.
    function.link([0x100 - size + 4 & ~3])
    function.capability(0x100 - size + 4 & ~3, 5, control)
    #expect(CapabilityList(function.config).shown == [])
  }

  @Test("the list is empty if the status register indicates no list")
  func noList() {
    var function = Function()
    function.set(ConfigOffset.status, 2, 0)
    #expect(CapabilityList(function.config).shown == [])
  }

  @Test("a loop ends the chain")
  func circle() {
    var function = Function()
    function.set(Function.msix + 1, 1, UInt32(Function.power))
    #expect(
      CapabilityList(function.config).shown.map(\.offset) == [
        Function.power, Function.message, Function.msix,
      ])
    function.set(Function.power + 1, 1, UInt32(Function.power))
    #expect(CapabilityList(function.config).shown.map(\.offset) == [Function.power])
  }

  @Test("a pointer into the header ends the chain, and the low bits of a pointer are ignored")
  func pointers() {
    var function = Function()
    function.set(Function.power + 1, 1, 0x3C)
    #expect(CapabilityList(function.config).shown.map(\.offset) == [Function.power])
    function.set(Function.power + 1, 1, UInt32(Function.msix | 3))
    #expect(CapabilityList(function.config).shown.prefix(2).map(\.offset) == [Function.power, Function.msix])
  }

  @Test("a capability that the end or the next capability truncates is hidden")
  func cutOff() {
    var function = Function(size: 256)
    for id in [CapabilityID.powerManagement, CapabilityID.msix, CapabilityID.express] {
      function.link([0xFC])
      function.capability(0xFC, id, 2)
      let list = CapabilityList(function.config)
      #expect(list.shown == [])
      #expect(list.hidden == [Capability(id: UInt16(id), offset: 0xFC, size: 4)])
      #expect(function.space.chain(of: function) == [])
    }
    function.link([0x40, 0x44])
    function.capability(0x40, CapabilityID.powerManagement, 3)
    function.capability(0x44, CapabilityID.vendorSpecific, 4)
    #expect(CapabilityList(function.config).shown.map(\.offset) == [0x44])
  }

  @Test("a null header, a loop or the end ends the chain of extended capabilities")
  func extended() {
    var function = Function()
    #expect(CapabilityList(extended: function.config).shown == [])
    function.extended(0x100, ExtendedCapabilityID.errorReporting, next: 0x148)
    function.extended(0x148, 0x0010, next: 0x200)
    function.extended(0x200, ExtendedCapabilityID.serialNumber, next: 0x100)
    let list = CapabilityList(extended: function.config)
    #expect(list.shown.map(\.offset) == [0x100, 0x200])
    #expect(list.shown.map(\.size) == [0x48, 0xE00])
    #expect(list.hidden.map(\.offset) == [0x148])
    function.extended(0x200, ExtendedCapabilityID.serialNumber, next: 0xFFC)
    function.set(0xFFC, 4, 0xFFFF_FFFF)
    #expect(CapabilityList(extended: function.config).shown.map(\.offset) == [0x100, 0x200])
    #expect(CapabilityList(extended: Function(size: 256).config).shown == [])
  }
}
