// SPDX-License-Identifier: Apache-2.0

import Boot
import Fakes
import Testing

@testable import VMM

/// The buses of a machine that has no devices.
@Suite struct BusTests {
  private let root = RootBus<FakeBackend>(functions: [], guestSlots: [])
  private let shutdown: ShutdownRequest
  private let ports: PortBus<FakeBackend>
  private let wire = Wire()

  init() throws {
    shutdown = try ShutdownRequest()
    let wire = wire
    ports = PortBus(
      serial: try Serial { wire.take($0) }, root: root, shutdown: shutdown, hasDebugExit: false)
  }

  private static let address = PlatformLayout.configAddress
  private static let data = PlatformLayout.configAddress + 4

  private static func ones(_ width: Int) -> UInt64 { .max >> UInt64(64 - width * 8) }

  /// Reads through CF8 and CFC.
  private func config(slot: UInt64, function: UInt64 = 0, bus: UInt64 = 0, offset: UInt64, width: Int) throws
    -> UInt64
  {
    try ports.write(
      Self.address, width: 4, 1 << 31 | bus << 16 | slot << 11 | function << 8 | offset & 0xFC)
    return try ports.read(Self.data + UInt16(offset & 3), width: width) & Self.ones(width)
  }

  /// Reads through the ECAM.
  private func ecam(slot: UInt64, function: UInt64 = 0, bus: UInt64 = 0, offset: UInt64, width: Int) throws
    -> UInt64
  {
    let address = PlatformLayout.ecam.lowerBound | bus << 20 | slot << 15 | function << 12 | offset
    return try root.readMemory(address, width: width) & Self.ones(width)
  }

  @Test("PCI slot 0 has a host bridge with only an identity")
  func bridge() throws {
    #expect(try config(slot: 0, offset: 0, width: 4) == 0x0008_1B36)
    #expect(try config(slot: 0, offset: 0, width: 2) == 0x1B36)
    #expect(try config(slot: 0, offset: 2, width: 2) == 0x0008)
    #expect(try config(slot: 0, offset: 0xA, width: 2) == 0x0600)
    #expect(try config(slot: 0, offset: 0xE, width: 1) == 0)
    for offset in stride(from: UInt64(0x10), to: 0x100, by: 4) {
      #expect(try config(slot: 0, offset: offset, width: 4) == 0)
    }
  }

  @Test("CF8/CFC and the ECAM return the same value in every width", arguments: [1, 2, 4])
  func agree(_ width: Int) throws {
    for slot in [0, 1, 31] as [UInt64] {
      for offset in stride(from: UInt64(0), to: 0x40, by: width) {
        let port = try config(slot: slot, offset: offset, width: width)
        #expect(try ecam(slot: slot, offset: offset, width: width) == port, "slot \(slot) at \(offset)")
        #expect(slot == 0 || port == Self.ones(width))
      }
    }
  }

  @Test("an access of any width at any address equals its byte accesses, and unclaimed bytes are all-ones")
  func everyWidth() throws {
    let ecam = PlatformLayout.ecam
    let edges: [UInt64] = [
      0, ecam.lowerBound - 8, ecam.lowerBound, ecam.lowerBound + 0xFF8, ecam.lowerBound + 0x7FF8,
      ecam.upperBound - 8, .max - 15, .max - 7,
    ]
    for edge in edges {
      for offset in 0..<8 as Range<UInt64> {
        for width in 1...8 {
          let address = edge + offset
          var bytes: UInt64 = 0
          for index in 0..<UInt64(width) {
            bytes |= (try root.readMemory(address &+ index, width: 1) & 0xFF) << (index * 8)
          }
          let value = try root.readMemory(address, width: width) & Self.ones(width)
          #expect(value == bytes, "\(width) bytes at 0x\(String(address, radix: 16))")
          try root.writeMemory(address, width: width, value)
        }
      }
    }
  }

  @Test("a port access of any width at any port equals its byte accesses")
  func everyPortWidth() throws {
    // CONFIG_ADDRESS is left out, because it accepts only 4-byte accesses. The receiver is left out, because
    // a read removes a byte.
    for port in [0, 0x3F9, 0x3FB, 0x3FD, 0x3FF, 0xCFD, 0xFFFD, 0xFFFF] as [UInt16] {
      for width in [1, 2, 4] {
        var bytes: UInt64 = 0
        for index in 0..<UInt16(width) {
          bytes |= (try ports.read(port &+ index, width: 1) & 0xFF) << UInt64(index * 8)
        }
        #expect(try ports.read(port, width: width) & Self.ones(width) == bytes, "\(width) bytes at \(port)")
      }
    }
    try ports.write(0x3F7, width: 4, 0x0300_4100)
    #expect(wire.bytes == [0x41])
    #expect(try ports.read(0x3FA, width: 2) & 0xFF00 == 0)
  }

  @Test("pieces are naturally aligned and cover the access")
  func pieces() {
    for address in 0..<16 as Range<UInt64> {
      for width in 1...8 {
        for widest in [1, 4, 8] {
          var next = address
          var value: UInt64 = 0
          for piece in AccessPieces(address, width: width, widest: widest) {
            #expect(piece.address == next && piece.width <= widest && next % UInt64(piece.width) == 0)
            value |= piece.placed(piece.of(0x8877_6655_4433_2211))
            next += UInt64(piece.width)
          }
          #expect(next == address + UInt64(width))
          #expect(value == 0x8877_6655_4433_2211 & Self.ones(width))
          let isWhole = AccessPieces.isWhole(address, width: width, widest: widest)
          #expect(isWhole == (Array(AccessPieces(address, width: width, widest: widest)).count == 1))
        }
      }
    }
  }

  @Test("8-byte reads of the ECAM are two 4-byte reads")
  func eightBytes() throws {
    #expect(try ecam(slot: 0, offset: 0, width: 8) == 0x0008_1B36)
    #expect(try ecam(slot: 0, offset: 8, width: 8) == 0x0600_0000)
    #expect(try ecam(slot: 0, offset: 0xFF8, width: 8) == 0)
    #expect(try ecam(slot: 1, offset: 0, width: 8) == .max)
  }

  @Test("absent PCI slots, functions and buses read all-ones", arguments: [1, 2, 4, 8])
  func absent(_ width: Int) throws {
    for slot in 1..<32 as Range<UInt64> {
      #expect(try ecam(slot: slot, offset: 0, width: width) == Self.ones(width))
    }
    for function in 1..<8 as Range<UInt64> {
      #expect(try ecam(slot: 0, function: function, offset: 0, width: width) == Self.ones(width))
    }
    if width < 8 { #expect(try config(slot: 0, bus: 1, offset: 0, width: width) == Self.ones(width)) }
    #expect(try root.readConfig(1 << 20, width: width) & Self.ones(width) == Self.ones(width))
  }

  @Test("writes to the bridge and unclaimed writes have no effect")
  func writes() throws {
    for width in [1, 2, 4, 8] {
      try root.writeMemory(PlatformLayout.ecam.lowerBound + 4, width: width, .max)
      try root.writeMemory(PlatformLayout.ecam.lowerBound | 1 << 15, width: width, .max)
      try root.writeMemory(PlatformLayout.pciWindow32.lowerBound, width: width, .max)
    }
    #expect(try ecam(slot: 0, offset: 4, width: 4) == 0)
    #expect(try !root.handleFault(isRepeated: false))
  }

  @Test("memory and ports outside every BAR read all-ones", arguments: [1, 2, 4, 8])
  func noBar(_ width: Int) throws {
    let read = try root.readMemory(PlatformLayout.pciWindow32.lowerBound, width: width)
    #expect(read & Self.ones(width) == Self.ones(width))
    if width < 8 { #expect(try ports.read(0xC000, width: width) & Self.ones(width) == Self.ones(width)) }
  }

  @Test("CONFIG_DATA works only while CONFIG_ADDRESS is enabled, which only 4-byte writes change")
  func enable() throws {
    #expect(try ports.read(Self.data, width: 4) == .max)
    try ports.write(Self.address, width: 4, 0x8000_0000)
    #expect(try ports.read(Self.address, width: 4) == 0x8000_0000)
    #expect(try ports.read(Self.data, width: 4) == 0x0008_1B36)
    try ports.write(Self.address, width: 2, 0)
    #expect(try ports.read(Self.address, width: 4) == 0x8000_0000)
    #expect(try ports.read(Self.address, width: 1) & 0xFF == 0xFF)
    try ports.write(Self.address, width: 4, 0)
    #expect(try ports.read(Self.data, width: 4) == .max)
  }

  @Test("COM1 has the ports of a PC, with one register per byte")
  func serial() throws {
    try ports.write(0x3F8, width: 1, 0x41)
    #expect(wire.bytes == [0x41])
    try ports.write(0x3F8 + 7, width: 1, 0x99)
    #expect(try ports.read(0x3F8 + 7, width: 1) == 0x99)
    // The access is split as in QEMU: it reaches the interrupt enable register, not the divisor.
    try ports.write(0x3F8, width: 2, 0x0542)
    #expect(wire.bytes == [0x41, 0x42])
    #expect(try ports.read(0x3F8 + 1, width: 1) == 5)
  }
}

/// The writes by which a guest ends its VM.
@Suite struct EndingPortTests {
  private func outcome(
    _ port: UInt16, _ value: UInt64, width: Int = 1, debugExit: Bool = false
  ) throws -> Outcome? {
    let shutdown = try ShutdownRequest()
    let ports = PortBus(
      serial: try Serial { _ in true }, root: RootBus<FakeBackend>(functions: [], guestSlots: []),
      shutdown: shutdown,
      hasDebugExit: debugExit)
    try ports.write(port, width: width, value)
    #expect(shutdown.isOver == (shutdown.outcome != nil))
    return shutdown.outcome
  }

  @Test("bit 2 of the reset register resets the machine")
  func reset() throws {
    #expect(try outcome(PlatformLayout.reset, UInt64(PlatformLayout.resetValue)) == .reset)
    #expect(try outcome(PlatformLayout.reset, 4) == .reset)
    #expect(try outcome(PlatformLayout.reset, 2) == nil)
    // QEMU also splits an unaligned access.
    #expect(try outcome(PlatformLayout.reset, 6, width: 2) == .reset)
    // The same bytes do not reset the machine as a part of CONFIG_ADDRESS.
    #expect(try outcome(PlatformLayout.configAddress, 0x0600, width: 4) == nil)
  }

  @Test("the keyboard controller's reset output and port 0x92 reset the machine, as on a PC")
  func oldResets() throws {
    #expect(try outcome(0x64, 0xFE) == .reset)
    #expect(try outcome(0x64, 0xD1) == nil)
    #expect(try outcome(0x92, 1) == .reset)
    #expect(try outcome(0x92, 2) == nil)
    let ports = PortBus(
      serial: try Serial { _ in true }, root: RootBus<FakeBackend>(functions: [], guestSlots: []),
      shutdown: try ShutdownRequest(),
      hasDebugExit: false)
    #expect(try ports.read(0x64, width: 1) & 2 == 0, "a guest waits for an empty input buffer")
    #expect(try ports.read(0x92, width: 1) & 0xFF == 2)
  }

  @Test("S5 powers off, and other sleep states have no effect")
  func sleep() throws {
    #expect(try outcome(PlatformLayout.sleepControl, UInt64(PlatformLayout.powerOffValue)) == .powerOff)
    #expect(try outcome(PlatformLayout.sleepControl, 1 << 5 | 3 << 2) == nil)
    #expect(try outcome(PlatformLayout.sleepControl, 5 << 2) == nil, "SLP_EN is not set")
    #expect(try outcome(PlatformLayout.sleepStatus, 0x80) == nil)
  }

  @Test("pvpanic reports that it supports panics, and a panic ends the VM")
  func panic() throws {
    #expect(try outcome(0x505, 1) == .panic)
    #expect(try outcome(0x505, 2) == nil)
    let ports = PortBus(
      serial: try Serial { _ in true }, root: RootBus<FakeBackend>(functions: [], guestSlots: []),
      shutdown: try ShutdownRequest(),
      hasDebugExit: false)
    #expect(try ports.read(0x505, width: 1) == 1)
    #expect(try ports.read(PlatformLayout.sleepControl, width: 1) == 0)
    #expect(try ports.read(PlatformLayout.sleepStatus, width: 1) == 0)
    #expect(try ports.read(PlatformLayout.reset, width: 1) == 0)
  }

  @Test("the debug exit port exists only if it is enabled, and takes the full width of a write")
  func debugExit() throws {
    #expect(try outcome(0xF4, 5) == nil)
    #expect(try outcome(0xF4, 5, debugExit: true) == .debugExit(5))
    #expect(try outcome(0xF4, 0x1_FF, debugExit: true) == .debugExit(0xFF))
    #expect(try outcome(0xF4, 0x1_FF, width: 4, debugExit: true) == .debugExit(0x1FF))
  }
}
