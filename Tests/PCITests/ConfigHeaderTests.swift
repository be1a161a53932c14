// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The guest's view of the type 0 header.
@Suite struct ConfigHeaderTests {
  private static let function: Function = {
    var function = Function()
    function.bars = [
      BAR(index: 0, kind: .memory32, size: 16 << 10),
      BAR(index: 1, kind: .io, size: 32),
      BAR(index: 2, kind: .memory64, isPrefetchable: true, size: 8 << 30),
      BAR(index: 4, kind: .memory64, size: 1 << 20),
    ]
    return function
  }()

  private static func bar(_ index: Int) -> Int { ConfigOffset.bar0 + index * 4 }

  @Test("the identity is the device's and is read-only")
  func identity() {
    var space = Self.function.space
    for offset in [ConfigOffset.vendor, ConfigOffset.classRevision, ConfigOffset.subsystem] {
      #expect(space.effects(offset: offset, width: 4, 0xFFFF_FFFF) == [])
      #expect(space.read(offset, 4, of: Self.function) == Self.function.config.number(at: offset, width: 4))
    }
    #expect(!space.readsDevice(offset: 0, width: 4))
  }

  @Test("a guest sees a single-function device without a ROM, with the device's pin and no command bit")
  func header() {
    let space = Self.function.space
    #expect(space.read(ConfigOffset.headerType, 1, of: Self.function) == 0)
    #expect(space.read(ConfigOffset.rom, 4, of: Self.function) == 0)
    #expect(space.read(ConfigOffset.interruptPin, 1, of: Self.function) == 1)
    #expect(space.interruptPin == 0)
    #expect(space.read(ConfigOffset.command, 2, of: Self.function) == 0)
    #expect(space.command == [])
  }

  @Test("COMMAND has the optional bits that the device implements")
  func optional() {
    for bits in [[], .parityErrorResponse, .systemErrorEnable, .optional, [.optional, .memorySpace]]
      as [Command]
    {
      var space = ConfigSpace(Self.function.config, bars: [], optional: bits)
      _ = space.write(offset: ConfigOffset.command, width: 2, 0xFFFF)
      #expect(space.command == bits.intersection(.optional).union([.busMaster, .interruptDisable]))
    }
  }

  @Test("setPlace sets the interrupt line of the pin and the multifunction bit")
  func location() {
    var space = Self.function.space
    space.setLocation(isMultifunction: true, interruptLine: 19)
    #expect(space.read(ConfigOffset.headerType, 1, of: Self.function) == 0x80)
    #expect(space.read(ConfigOffset.interruptLine, 1, of: Self.function) == 19)
    var function = Function()
    function.set(ConfigOffset.interruptPin, 1, 0)
    space = function.space
    space.setLocation(isMultifunction: false, interruptLine: 19)
    #expect(space.interruptPin == nil)
    #expect(space.read(ConfigOffset.interruptLine, 1, of: function) == 0xFF)
  }

  @Test("a ROM has a size, an address and an enable bit, and answers only if memory is enabled")
  func expansionROM() {
    var function = Function()
    let rom = BAR(index: BAR.romIndex, kind: .rom, size: 0x1_0000)
    function.bars = [rom]
    var space = function.space
    #expect(space.read(ConfigOffset.rom, 4, of: function) == 0)
    #expect(space.effects(offset: ConfigOffset.rom, width: 4, 0xFFFF_FFFE) == [.base(bar: 6)])
    #expect(space.read(ConfigOffset.rom, 4, of: function) == 0xFFFF_0000)
    #expect(space.effects(offset: ConfigOffset.rom, width: 4, 0xC008_0001) == [.base(bar: 6)])
    #expect(space.base(of: rom) == 0xC008_0000)
    #expect(space.isROMEnabled)
    #expect(!space.isEnabled(rom))
    _ = space.write(offset: ConfigOffset.command, width: 2, 2)
    #expect(space.isEnabled(rom))
    space.setBase(of: rom, to: 0xC010_0000)
    #expect(space.read(ConfigOffset.rom, 4, of: function) == 0xC010_0001, "the enable bit does not change")
    _ = space.write(offset: ConfigOffset.rom, width: 1, 0)
    #expect(!space.isEnabled(rom))
  }

  @Test("the ROM register ignores an address if there is no ROM")
  func rom() {
    var space = Self.function.space
    #expect(space.effects(offset: ConfigOffset.rom, width: 4, 0xFFFF_F801) == [])
    #expect(space.read(ConfigOffset.rom, 4, of: Self.function) == 0)
  }

  @Test(
    "a BAR reads its size and kind after a write of all-ones",
    arguments: [
      (0, 0xFFFF_C000), (1, 0xFFFF_FFE1), (2, 0x0000_000C), (3, 0xFFFF_FFFE), (4, 0xFFF0_0004),
      (5, 0xFFFF_FFFF),
    ] as [(Int, UInt32)])
  func sizing(_ register: Int, _ expected: UInt32) {
    var space = Self.function.space
    let owner = [0, 1, 2, 2, 4, 4][register]
    let at = Self.bar(register)
    // The low word of an 8 GiB BAR has no address bit, so its address does not change.
    let effects: [ConfigSpace.Effect] = register == 2 ? [] : [.base(bar: owner)]
    #expect(space.effects(offset: at, width: 4, 0xFFFF_FFFF) == effects)
    #expect(space.read(at, 4, of: Self.function) == expected)
    _ = space.write(offset: at, width: 4, 0)
    #expect(space.read(at, 4, of: Self.function) == expected & (register % 2 == 0 || register == 1 ? 0xF : 0))
  }

  @Test("an absent BAR reads 0 after any write")
  func noBar() {
    var function = Self.function
    function.bars = []
    var space = function.space
    for register in 0..<6 {
      #expect(space.effects(offset: Self.bar(register), width: 4, 0xFFFF_FFFF) == [])
      #expect(space.read(Self.bar(register), 4, of: function) == 0)
    }
  }

  @Test("a write of any width reports a move if a BAR's address changes")
  func moves() {
    var space = Self.function.space
    let bars = Self.function.bars
    #expect(space.effects(offset: Self.bar(0), width: 4, 0xC000_4000) == [.base(bar: 0)])
    #expect(space.effects(offset: Self.bar(0), width: 4, 0xC000_4FFF) == [])
    #expect(space.base(of: bars[0]) == 0xC000_4000)
    #expect(space.effects(offset: Self.bar(0) + 3, width: 1, 0xD0) == [.base(bar: 0)])
    #expect(space.base(of: bars[0]) == 0xD000_4000)
    #expect(space.effects(offset: Self.bar(3), width: 4, 0x42) == [.base(bar: 2)])
    #expect(space.base(of: bars[2]) == 0x42_0000_0000)
    #expect(space.effects(offset: Self.bar(1), width: 2, 0xC0E5) == [.base(bar: 1)])
    #expect(space.base(of: bars[1]) == 0xC0E0)
  }

  @Test("a BAR that has an address before the start reads its address and kind")
  func placed() {
    var space = Self.function.space
    space.setBase(of: Self.function.bars[2], to: 0x12_3456_7FFF)
    #expect(space.base(of: Self.function.bars[2]) == 0x12_0000_0000)
    #expect(space.read(Self.bar(2), 4, of: Self.function) == 0xC)
    #expect(space.read(Self.bar(3), 4, of: Self.function) == 0x12)
  }

  @Test("a COMMAND write reports the old and new value; bits without a BAR stay 0")
  func command() {
    var space = Self.function.space
    let all: Command = [
      .ioSpace, .memorySpace, .busMaster, .parityErrorResponse, .systemErrorEnable, .interruptDisable,
    ]
    #expect(space.effects(offset: ConfigOffset.command, width: 2, 0xFFFF) == [.command(from: [], to: all)])
    #expect(space.effects(offset: ConfigOffset.command, width: 2, 0xFFFF) == [])
    #expect(space.read(ConfigOffset.command, 2, of: Self.function) == UInt32(all.rawValue))
    #expect(
      space.effects(offset: ConfigOffset.command, width: 1, 0)
        == [.command(from: all, to: [.systemErrorEnable, .interruptDisable])])
    var function = Self.function
    function.bars = [BAR(index: 0, kind: .io, size: 8)]
    space = function.space
    _ = space.write(offset: ConfigOffset.command, width: 2, 3)
    #expect(space.command == [.ioSpace])
  }

  @Test("only the error bits of the status register are forwarded to the device, as write 1 to clear")
  func status() {
    var space = Self.function.space
    let forward = ConfigSpace.Effect.forward(offset: 7, width: 1, value: 0xF9)
    #expect(space.effects(offset: ConfigOffset.status, width: 2, 0xFFFF) == [forward])
    let effects = space.effects(offset: ConfigOffset.command, width: 4, 0x2000_0002)
    #expect(
      effects == [
        .command(from: [], to: .memorySpace), .forward(offset: 7, width: 1, value: 0x20),
      ])
    #expect(space.read(ConfigOffset.status, 2, of: Self.function) == 0x2010, "the device's error bit")
    // Bit 3, the interrupt status, is also the device's.
    #expect(space.read(offset: ConfigOffset.status, width: 2, device: 0x0008) == 0x0018)
    #expect(space.readsDevice(offset: ConfigOffset.status, width: 2))
  }

  @Test("interrupt line and cache line size keep the guest's value and are not forwarded")
  func scratch() {
    var space = Self.function.space
    #expect(space.effects(offset: ConfigOffset.interruptLine, width: 1, 0x0A) == [])
    #expect(space.effects(offset: ConfigOffset.cacheLineSize, width: 1, 0x10) == [])
    #expect(space.read(ConfigOffset.interruptLine, 1, of: Self.function) == 0x0A)
    #expect(space.read(ConfigOffset.cacheLineSize, 1, of: Self.function) == 0x10)
    #expect(space.effects(offset: ConfigOffset.latencyTimer, width: 1, 0x40) == [])
    #expect(space.read(ConfigOffset.latencyTimer, 1, of: Self.function) == 0)
  }

  @Test("reads beyond the end return all-ones and writes are ignored")
  func beyond() {
    var space = Function(size: 256).space
    #expect(space.size == 256)
    for (width, ones) in [(1, 0xFF), (2, 0xFFFF), (4, .max)] as [(Int, UInt32)] {
      #expect(!space.readsDevice(offset: 0x100, width: width), "no device is read")
      #expect(space.read(offset: 0x100, width: width, device: 0) == ones)
    }
    for (width, last) in [(1, 0), (2, 0), (4, 0)] as [(Int, UInt32)] {
      #expect(space.read(offset: 256 - width, width: width, device: 0) == last, "the last bytes exist")
    }
    #expect(space.read(offset: 256, width: 4) == 0xFFFF_FFFF)
    #expect(space.read(offset: 255, width: 2) == 0xFFFF)
    #expect(space.read(offset: 4095, width: 1) == 0xFF)
    #expect(space.effects(offset: 254, width: 4, 0) == [])
    #expect(space.effects(offset: 4092, width: 4, 0) == [])
  }
}
