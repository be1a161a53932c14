// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The guest's view of the capabilities.
@Suite struct ConfigCapabilityTests {
  private static let function = Function()

  @Test("the chain skips hidden capabilities, which read 0 and ignore writes")
  func hidden() {
    var space = Self.function.space
    #expect(
      space.chain(of: Self.function) == [
        Function.power, Function.message, Function.msix, Function.express, Function.features, Function.vendor,
      ])
    for offset in stride(from: Function.hidden, to: 0x100, by: 4) {
      #expect(space.effects(offset: offset, width: 4, 0xFFFF_FFFF) == [])
      #expect(space.read(offset: offset, width: 4, device: 0xFFFF_FFFF) == 0)
    }
  }

  @Test("a function with only hidden capabilities has no list")
  func noneShown() {
    var function = Function()
    function.link([Function.hidden])
    let space = function.space
    #expect(space.chain(of: function) == [])
    #expect(space.read(ConfigOffset.status, 2, of: function) & 0x10 == 0)
  }

  @Test("headers and next pointers are read-only")
  func headers() {
    var space = Self.function.space
    let before = space.chain(of: Self.function)
    for offset in before { #expect(space.effects(offset: offset, width: 2, 0xFFFF) == []) }
    #expect(space.effects(offset: ConfigOffset.capabilities, width: 1, 0xFF) == [])
    #expect(space.chain(of: Self.function) == before)
  }

  @Test("a vendor-specific capability is passed through")
  func vendor() {
    var space = Self.function.space
    let at = Function.vendor + 4
    #expect(space.read(at, 4, of: Self.function) == Self.function.config.number(at: at, width: 4))
    #expect(
      space.effects(offset: at, width: 4, 0x1122_3344) == [.forward(offset: at, width: 4, value: 0x1122_3344)]
    )
  }

  @Test("MSI-X control has two writable bits; size and offsets are read-only")
  func msix() {
    var space = Self.function.space
    let at = Function.msix
    #expect(
      space.effects(offset: at + 2, width: 2, 0xFFFF) == [.msix(enabled: true, functionMasked: true)])
    #expect(space.read(at + 2, 2, of: Self.function) == 0xC003)
    #expect(space.effects(offset: at + 3, width: 1, 0x80) == [.msix(enabled: true, functionMasked: false)])
    #expect(space.effects(offset: at, width: 4, 0x8000_0000) == [])
    #expect(space.effects(offset: at + 3, width: 1, 0) == [.msix(enabled: false, functionMasked: false)])
    #expect(space.effects(offset: at + 4, width: 4, 0xFFFF_FFFF) == [])
    #expect(space.read(at + 4, 4, of: Self.function) == 0x2000)
    #expect(space.read(at + 8, 4, of: Self.function) == 0x3000)
  }

  @Test("MSI-X is disabled for the guest if the host had it enabled")
  func msixStart() {
    var function = Function()
    function.set(Function.msix + 2, 2, 0xC003)
    #expect(function.space.read(Function.msix + 2, 2, of: function) == 3)
  }

  @Test("FLR through the PCIe capability is a reset, is not forwarded and reads 0")
  func expressReset() {
    var space = Self.function.space
    let control = Function.express + 8
    let effects = space.effects(offset: control, width: 2, 0x8000 | 0x2010)
    #expect(effects == [.reset, .forward(offset: control, width: 2, value: 0x2010)])
    #expect(space.read(offset: control, width: 2, device: 0xA010) == 0x2010)
    #expect(
      space.effects(offset: control + 1, width: 1, 0x80)
        == [.reset, .forward(offset: control + 1, width: 1, value: 0)])
    #expect(
      space.effects(offset: control, width: 1, 0x80) == [.forward(offset: control, width: 1, value: 0x80)])
  }

  @Test("the FLR bit has no effect if the device does not support FLR")
  func noExpressReset() {
    var function = Function()
    function.set(Function.express + 4, 4, 0x0000_8002)
    var space = function.space
    let control = Function.express + 8
    #expect(
      space.effects(offset: control, width: 2, 0x8000) == [.forward(offset: control, width: 2, value: 0)])
  }

  @Test("the error bits of the device status register are forwarded to the device")
  func deviceStatus() {
    var space = Self.function.space
    let control = Function.express + 8
    #expect(
      space.effects(offset: control, width: 4, 0x000F_2010)
        == [.forward(offset: control, width: 4, value: 0x000F_2010)])
  }

  @Test("FLR through the AF capability is a reset and reads 0")
  func featuresReset() {
    var space = Self.function.space
    let control = Function.features + 4
    #expect(space.effects(offset: control, width: 1, 1) == [.reset])
    #expect(space.read(control, 1, of: Self.function) == 0)
    #expect(space.effects(offset: control, width: 1, 0xFE) == [])
    var function = Function()
    function.capability(Function.features, CapabilityID.advancedFeatures, 0x0106)
    space = function.space
    #expect(space.effects(offset: control, width: 1, 1) == [])
  }

  @Test(
    "an endpoint becomes a root-complex integrated endpoint without a link", arguments: [0, 1] as [UInt32])
  func endpoint(_ type: UInt32) {
    var function = Function()
    function.set(Function.express + 2, 2, 2 | type << 4)
    var space = function.space
    #expect(space.read(Function.express + 2, 2, of: function) == 0x0092)
    for offset in [0xC, 0x10, 0x2C, 0x30] {
      #expect(space.effects(offset: Function.express + offset, width: 4, 0xFFFF_FFFF) == [])
      #expect(space.read(offset: Function.express + offset, width: 4, device: 0xFFFF_FFFF) == 0)
    }
    // Device Control 2 and Device Status 2 are passed through.
    #expect(space.readsDevice(offset: Function.express + 0x28, width: 4))
  }

  @Test("an endpoint behind a port keeps its type and its link, and ASPM writes do not reach the device")
  func behindPort() {
    var function = Function()
    let at = Function.express
    function.set(at + 2, 2, 2)
    function.set(at + 0xC, 4, 0x0043_F424)
    function.set(at + 0x10, 4, 0x1043_0040)
    var space = ConfigSpace(function.config, bars: [], isBehindPort: true)
    #expect(space.link == RootPort.Link(speed: 3, width: 4))
    #expect(space.read(at + 2, 2, of: function) == 0x0002)
    #expect(space.effects(offset: at + 0xC, width: 4, 0) == [])
    #expect(space.read(offset: at + 0xC, width: 4) == 0x0043_F424)
    #expect(space.effects(offset: at + 0x10, width: 4, 0xFFFF_FFFF) == [])
    #expect(space.read(offset: at + 0x10, width: 4) == 0x1043_01CB)
    #expect(
      ConfigSpace([UInt8](repeating: 0, count: 256), bars: []).link == RootPort.Link(speed: 1, width: 1))
  }

  @Test("a root-complex integrated endpoint keeps its type")
  func integrated() {
    var function = Function()
    function.set(Function.express + 2, 2, 0x0092)
    #expect(function.space.read(Function.express + 2, 2, of: function) == 0x0092)
  }

  @Test("the chain skips hidden extended capabilities, which read 0")
  func extended() {
    var function = Function()
    function.extended(0x100, ExtendedCapabilityID.errorReporting, next: 0x148, body: 0x11)
    function.extended(0x148, 0x0010, next: 0x200, body: 0x22)  // SR-IOV
    function.extended(0x200, ExtendedCapabilityID.serialNumber, next: 0x300, body: 0x33)
    function.extended(0x300, 0x001E, next: 0, body: 0x44)  // L1 substates
    var space = function.space
    #expect(space.extendedChain(of: function) == [[0x100, 1], [0x200, 3]])
    #expect(space.read(0x104, 4, of: function) == 0x11)
    #expect(space.read(0x14C, 4, of: function) == 0)
    #expect(space.read(0x304, 4, of: function) == 0)
    #expect(space.effects(offset: 0x304, width: 4, 0x7) == [])
    #expect(space.effects(offset: 0x104, width: 4, 0x10) == [.forward(offset: 0x104, width: 4, value: 0x10)])
    #expect(space.effects(offset: 0x100, width: 4, 0) == [])
    #expect(space.extendedChain(of: function) == [[0x100, 1], [0x200, 3]])
  }

  @Test("a null capability leads to the others if the first extended capability is hidden")
  func extendedFirst() {
    var function = Function()
    function.extended(0x100, 0x0010, next: 0x200, body: 0x22)
    function.extended(0x200, ExtendedCapabilityID.errorReporting, next: 0)
    #expect(function.space.extendedChain(of: function) == [[0x100, 0], [0x200, 1]])
    #expect(function.space.read(0x104, 4, of: function) == 0)
    function.extended(0x100, 0x0010, next: 0)
    #expect(function.space.read(0x100, 4, of: function) == 0, "no extended capability is shown")
  }

  @Test("a resizable BAR offers only its present size", arguments: [0, 8, 27, 28, 40] as [UInt32])
  func resizable(_ size: UInt32) {
    var function = Function()
    function.extended(0x100, ExtendedCapabilityID.resizableBAR, next: 0, body: 0xFFFF_FFF0)
    function.set(0x108, 4, 0xFFFF_0000 | size << 8 | 2 << 5 | 0)
    function.set(0x10C, 4, 0xFFFF_FFF0)
    function.set(0x110, 4, size << 8 | 2)
    var space = function.space
    #expect(space.extendedChain(of: function) == [[0x100, 0x15]])
    for entry in [0x104, 0x10C] {
      let sizes = space.read(entry, 4, of: function)
      let control = space.read(entry + 4, 4, of: function)
      #expect(UInt64(control >> 16) << 28 | UInt64(sizes >> 4) == 1 << UInt64(size))
      #expect(control >> 8 & 0x3F == size)
      #expect(space.effects(offset: entry, width: 4, 0xFFFF_FFFF) == [])
      #expect(space.effects(offset: entry + 4, width: 4, 0) == [])
      #expect(space.read(entry + 4, 4, of: function) == control)
    }
  }

  @Test("an extended capability keeps its version")
  func version() {
    var function = Function()
    function.set(0x100, 4, 0x1402_0001)
    function.set(0x140, 4, 0x0001_0003)
    #expect(function.space.read(0x100, 4, of: function) == 0x1402_0001)
    function.set(0x100, 4, 0x0002_0001)
    #expect(function.space.read(0x100, 4, of: function) == 0x0002_0001)
  }

  @Test("No_Soft_Reset determines if the transition from D3hot to D0 resets the function")
  func softReset() {
    var function = Function()
    #expect(!function.space.keepsStateInD3)
    function.set(Function.power + 4, 2, 0x0008)
    #expect(function.space.keepsStateInD3)
    function.link([])
    #expect(function.space.keepsStateInD3, "a function without the capability has no D3hot")
  }

  @Test("AtomicOps are hidden and cannot be enabled", arguments: [0, 1, 9])
  func atomicOperations(_ type: UInt32) {
    var function = Function()
    function.set(Function.express + 2, 2, 2 | type << 4)
    function.set(Function.express + 0x24, 4, 0x0001_17FF)
    function.set(Function.express + 0x28, 2, 0x04C5)
    var space = function.space
    #expect(space.read(Function.express + 0x24, 4, of: function) == 0x0001_143F)
    #expect(space.read(Function.express + 0x28, 2, of: function) == 0x0405)
    let control = Function.express + 0x28
    let effects = space.effects(offset: control, width: 2, 0x00DF)
    #expect(effects == [.forward(offset: control, width: 2, value: 0x001F)])
  }
}
