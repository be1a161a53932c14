// SPDX-License-Identifier: Apache-2.0

import Fakes
import Gate
import PCI
import Seams
import Synchronization
import Testing

@testable import Passthrough
@testable import VMM

/// Random orders of the guest's writes and the host's events at a port.
@Suite final class PortWalkTests: PortRig {
  /// The registers that decide whether the function is reachable, with values that matter: the port's command, bus
  /// numbers, bridge control, link control, slot control and power state, and the function's command and BAR.
  private static let writes: [(address: UInt64, width: Int, values: [UInt64])] = [
    (port | 0x04, 2, [0, 4, 6, 6, 6]), (port | 0x18, 4, [0x0001_0100, 0x0001_0100, 0x0005_0500]),
    (port | 0x3E, 2, [0, 0, 0x40]), (port | 0x50, 2, [0, 0, 0, 0x10]), (port | 0x58, 2, [0, 0, 0x2B, 0x400]),
    (port | 0x5A, 2, [0xFFFF]), (port | 0x9C, 2, [0, 0, 3]), (port | 0x130, 4, [0x7F]),
    (port | 0x12C, 4, [0, 7]),
    (bus | 0x04, 2, [0, 2, 6]), (bus | 0x10, 4, [UInt64(base), UInt64(base) + 0x2000]),
    (5 << 20 | 0x04, 2, [0, 2]),
  ]
  /// The register of the device that shows that it answers.
  private static let mark: UInt64 = 0x5A5A_0001

  private var devices: [FakeDevice] = []

  private func newFunction(_ index: Int) throws -> AssignedFunction<FakeBackend> {
    let one = try Self.function(0x2233, "0000:02:00.\(index % 8)", in: world, context)
    try one.attach([0], function: 256 | Int(Self.slot), isMultifunction: false, gsi: 16)
    one.device.poke(bar: 0, 0x10, UInt32(Self.mark))
    devices.append(one.device)
    return one
  }

  @Test(
    "no order of writes and events lets an access reach a function that its port does not forward",
    arguments: 1...8)
  func walk(_ seed: UInt64) throws {
    var generator = SeededGenerator(state: seed)
    device.poke(bar: 0, 0x10, UInt32(Self.mark))
    devices = [device]
    var (opened, ejected, contained) = (0, 0, 0)
    for step in 0..<4_000 {
      switch Int.random(in: 0..<12, using: &generator) {
      case 0: try port.requestRemoval(by: Int64(step))
      case 1: try port.act(at: Bool.random(using: &generator) ? .max : 0)
      case 2 where Int.random(in: 0..<4, using: &generator) == 0: try port.removeBySurprise()
      case 3 where Int.random(in: 0..<3, using: &generator) == 0:
        try port.contain()
        contained += 1
      case 4 where port.isFree: try port.insert(newFunction(step), RootPort.Link(speed: 1, width: 1))
      case 5: try root.openDueWindows()
      case 6, 7:
        try enable()
        opened += slots.count
      default:
        if let one = Self.writes.randomElement(using: &generator),
          let value = one.values.randomElement(using: &generator)
        {
          try root.writeConfig(one.address, width: one.width, value)
        }
      }
      ejected += try check(step)
    }
    #expect(
      opened > 10 && ejected > 10 && contained > 10,
      "opened \(opened), ejected \(ejected), contained \(contained)")
    #expect(world.violations.isEmpty, "\(world.violations.prefix(3))")
  }

  /// Writes all that a guest needs to use the function, and uses it.
  private func enable() throws {
    for (address, width, value) in [
      (Self.port | 0x9C, 2, 0), (Self.port | 0x18, 4, 0x0001_0100), (Self.port | 0x3E, 2, 0),
      (Self.port | 0x50, 2, 0), (Self.port | 0x58, 2, 0), (Self.port | 0x04, 2, 6),
      (Self.bus | 0x10, 4, Self.base), (Self.bus | 0x04, 2, 2),
    ] as [(UInt64, Int, UInt64)] {
      try root.writeConfig(address, width: width, value)
    }
    _ = try root.readMemory(Self.base, width: 4)
    try root.openDueWindows()
  }

  /// Checks the invariants after a step. Returns the number of functions that have left.
  private func check(_ step: Int) throws -> Int {
    let isForwarding = port.isForwarding
    let conditions = port.function?.state.withLock { $0.gate.conditions } ?? []
    #expect(
      !conditions.contains(.connected) || isForwarding,
      "step \(step): connected, and the port forwards nothing")
    if isForwarding, conditions.contains(.alive) { #expect(conditions.contains(.connected), "step \(step)") }
    if !isForwarding || port.function == nil { #expect(slots.isEmpty, "step \(step): a window is mapped") }
    for address in [Self.base, Self.base + 0x2000] {
      let value = try root.readMemory(address | 0x10, width: 4) & 0xFFFF_FFFF
      #expect(value == 0xFFFF_FFFF || isForwarding && value == Self.mark, "step \(step): \(value)")
    }
    let gone = try departed()
    for function in gone {
      try function.release()
      #expect(!function.device.isOpen && function !== port.function)
    }
    let open = devices.count { $0.isOpen }
    #expect(open == (port.isFree ? 0 : 1), "step \(step): \(open) devices are open")
    return gone.count
  }
}
