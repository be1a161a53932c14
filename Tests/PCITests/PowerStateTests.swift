// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// The power states in PMCSR (PCI PM 1.2 §3.2.4).
@Suite struct PowerStateTests {
  private static let register = Function.power + 4

  private static func forward(_ value: UInt32) -> ConfigSpace.Effect {
    .forward(offset: register, width: 2, value: value)
  }

  @Test("a state write reports the change and forwards the new state to the device")
  func states() {
    let function = Function()
    var space = function.space
    #expect(
      space.effects(offset: Self.register, width: 2, 3) == [.power(from: .d0, to: .d3hot), Self.forward(3)])
    #expect(space.read(offset: Self.register, width: 2, device: 0) == 3)
    #expect(
      space.effects(offset: Self.register, width: 2, 0) == [.power(from: .d3hot, to: .d0), Self.forward(0)])
    #expect(
      space.effects(offset: Self.register, width: 2, 1) == [.power(from: .d0, to: .d1), Self.forward(1)])
    #expect(
      space.effects(offset: Self.register, width: 2, 2) == [.power(from: .d1, to: .d2), Self.forward(2)])
  }

  @Test("PME bits are forwarded with the function's present state")
  func wakeUp() {
    let function = Function()
    var space = function.space
    _ = space.write(offset: Self.register, width: 2, 3)
    #expect(space.effects(offset: Self.register, width: 2, 0x8103) == [Self.forward(0x8103)])
    #expect(
      space.effects(offset: Self.register + 1, width: 1, 0x80)
        == [.forward(offset: Self.register + 1, width: 1, value: 0x80)])
    #expect(space.read(offset: Self.register, width: 2, device: 0x8000) == 0x8003)
  }

  @Test(
    "an unsupported state is ignored",
    arguments: [(0x0003, [1, 2]), (0x0203, [2]), (0x0403, [1])] as [(UInt32, [UInt32])])
  func unsupported(_ capabilities: UInt32, _ states: [UInt32]) {
    var function = Function()
    function.capability(Function.power, CapabilityID.powerManagement, capabilities)
    for state in states {
      var space = function.space
      #expect(space.effects(offset: Self.register, width: 2, state) == [Self.forward(0)])
      #expect(space.read(offset: Self.register, width: 2, device: 0) == 0)
      _ = space.write(offset: Self.register, width: 2, 3)
      #expect(space.effects(offset: Self.register, width: 2, state) == [Self.forward(3)])
      #expect(space.read(offset: Self.register, width: 2, device: 0) == 3)
    }
  }

  @Test("a reset returns the function to D0")
  func powerOn() {
    let function = Function()
    var space = function.space
    _ = space.write(offset: Self.register, width: 2, 3)
    space.powerOn()
    #expect(space.read(offset: Self.register, width: 2, device: 3) == 0)
    var plain = Function()
    plain.link([])
    space = plain.space
    space.powerOn()
    #expect(space.read(offset: Function.power, width: 4, device: 7) == 7, "no state without the capability")
  }
}
