// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The guest's view of MSI.
@Suite struct ConfigMessageTests {
  private static let function = Function()
  private static let at = Function.message

  @Test("enable and Multiple Message Enable are writable; the device's abilities are read-only")
  func control() {
    var function = Function()
    function.set(Self.at + 2, 2, 0x0184 | 0x21)
    var space = function.space
    #expect(space.read(Self.at + 2, 2, of: function) == 0x0184, "the guest does not see the host's Enable")
    let effects = space.effects(offset: Self.at + 2, width: 2, 0xFFFF)
    #expect(space.read(Self.at + 2, 2, of: function) == 0x0184 | 0x71)
    var enabled = MSIState()
    enabled.isEnabled = true
    enabled.count = 4
    #expect(effects == [.msi(from: MSIState(), to: enabled)], "the count is limited to the device's vectors")
  }

  @Test("address, data and masks are emulated; only reserved bytes of MSI are forwarded")
  func registers() throws {
    var space = Self.function.space
    for (offset, value) in [(4, 0xFEE0_1003), (8, 1), (12, 0x4042), (16, 0xFFFF_FFFF)] as [(Int, UInt32)] {
      for effect in space.effects(offset: Self.at + offset, width: 4, value) {
        if case .forward(let at, let width, _) = effect {
          #expect(at >= Self.at + 14 && at + width <= Self.at + 16)
        }
      }
    }
    let state = try #require(space.msi)
    #expect(state.message == MSIMessage(address: 0x1_FEE0_1000, data: 0x4042))
    #expect(state.mask == 0xF, "one bit for each vector")
    #expect(!state.isEnabled)
  }

  @Test("pending bits read the set value and are read-only")
  func pending() {
    var space = Self.function.space
    #expect(space.readsPending(offset: Self.at + 20, width: 4))
    #expect(space.readsPending(offset: Self.at + 22, width: 1))
    #expect(!space.readsPending(offset: Self.at + 16, width: 4))
    space.setPending(0xFFFF_FFF5)
    #expect(space.effects(offset: Self.at + 20, width: 4, 0) == [])
    #expect(space.read(Self.at + 20, 4, of: Self.function) == 5)
  }

  @Test("32-bit MSI without masks has its data after the low address")
  func short() throws {
    var function = Function()
    function.set(Self.at + 2, 2, 0x0006)
    var space = function.space
    _ = space.write(offset: Self.at + 4, width: 4, 0xFEE0_0000)
    _ = space.write(offset: Self.at + 8, width: 2, 0x31)
    #expect(space.msi?.message == MSIMessage(address: 0xFEE0_0000, data: 0x31))
    #expect(!space.readsPending(offset: Self.at, width: 4))
    space.setPending(.max)
    #expect(try #require(space.msiLayout).count == 8)
  }

  @Test("the low bits of the data are the vector's number")
  func messages() {
    var state = MSIState()
    state.count = 4
    state.message = MSIMessage(address: 0xFEE0_0000, data: 0x4043)
    #expect((0..<4).map { state.message($0).data } == [0x4040, 0x4041, 0x4042, 0x4043])
  }

  @Test("a change lists the unmasked vectors, the masked vectors and those with another message")
  func changes() {
    var old = MSIState()
    old.isEnabled = true
    old.count = 4
    old.mask = 0b0011
    var new = old
    new.mask = 0b0101
    #expect(new.changes(from: old) == [.unmasked(1), .masked(2)])
    new = old
    new.message.address = 0xFEE0_1000
    #expect(new.changes(from: old) == [.message(2), .message(3)])
    new = old
    new.count = 8
    #expect(
      new.changes(from: old) == [.unmasked(4), .unmasked(5), .unmasked(6), .unmasked(7)])
    new.isEnabled = false
    #expect(new.changes(from: old) == [.masked(2), .masked(3)])
    #expect(old.changes(from: old) == [])
  }
}
