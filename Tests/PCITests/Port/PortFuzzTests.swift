// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct PortFuzzTests {
  /// The bits that neither a guest nor an event of the host changes, as pairs of a register and a mask. A
  /// register that is absent is fixed.
  private static let variable: [Int: UInt32] = [
    0x04: 0xF908_0546, 0x0C: 0x0000_00FF, 0x18: 0x00FF_FFFF, 0x1C: 0xF900_0000, 0x20: 0xFFF0_FFF0,
    0x24: 0xFFF0_FFF0, 0x28: .max, 0x2C: .max, 0x3C: 0x0043_00FF, 0x48: 0x000F_000F, 0x50: 0x23FF_00D0,
    0x58: 0x014B_142B, 0x5C: 0x0000_000F, 0x70: 0x0000_000F, 0x80: 0x0001_0000, 0x84: 0xFFFF_FFFC, 0x88: .max,
    0x8C: 0x0000_FFFF, 0x90: 1, 0x94: 1, 0x9C: 3, 0x104: 0x007F_F010, 0x108: 0x007F_F010, 0x10C: 0x007F_F010,
    0x110: 0xF1C1, 0x114: 0xF1C1, 0x118: 0x1F, 0x12C: 7, 0x130: 0x7F, 0x134: .max, 0x144: 0x001D_0000,
  ]

  private static func fixed(_ port: RootPort) -> [UInt32] {
    stride(from: 0, to: RootPort.size, by: 4).map { port.read($0, 4) & ~(variable[$0] ?? 0) }
  }

  @Test("random writes and events change no fixed bit and keep the state consistent", arguments: 1...4)
  func random(_ seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    var port = RootPort(RootPort.layout, link: seed % 2 == 0 ? RootPort.link : nil)
    let before = Self.fixed(port)
    for step in 0..<5_000 {
      if Int.random(in: 0..<4, using: &generator) == 0 {
        event(&port, &generator)
      } else {
        write(&port, &generator)
      }
      check(port, step)
      if Bool.random(using: &generator) { _ = port.takeMessage() }
    }
    #expect(before == Self.fixed(port))
  }

  private func write(_ port: inout RootPort, _ generator: inout SeededGenerator) {
    let width = 1 << Int.random(in: 0...2, using: &generator)
    let ends = [0xA0, 0x148, 4200]
    let offset = Int.random(in: 0..<(ends.randomElement(using: &generator) ?? 0xA0), using: &generator)
    // A small value sets few bits, so that MSI, D0 and the enables occur together.
    let value = UInt32.random(in: 0...UInt32.max, using: &generator)
    let bits = Bool.random(using: &generator) ? value : value & value << 7 & value << 13
    let (before, wasAsserted) = (port, port.isINTxAsserted)
    let effects = port.effects(offset, width, bits)
    #expect(effects.contains(.buses) == (port.read(0x18, 4) >> 8 != before.read(0x18, 4) >> 8))
    #expect(effects.contains(.eject) <= effects.contains(.power(false)))
    if port.isForwarding != before.isForwarding { #expect(effects.contains(.forwarding)) }
    if port.isINTxAsserted != wasAsserted { #expect(effects.contains(.interrupt)) }
    if port.isResetting != before.isResetting { #expect(effects.contains(.reset(port.isResetting))) }
    if port.isPowered != before.isPowered { #expect(effects.contains(.power(port.isPowered))) }
    #expect(port.isOccupied == before.isOccupied, "a guest does not move a function")
  }

  private func event(_ port: inout RootPort, _ generator: inout SeededGenerator) {
    let severity: RootPort.ErrorSeverity =
      [.correctable, .nonFatal, .fatal].randomElement(using: &generator) ?? .fatal
    switch Int.random(in: 0..<7, using: &generator) {
    case 0:
      let speed = UInt8.random(in: 0...255, using: &generator)
      port.insert(RootPort.Link(speed: speed, width: UInt8.random(in: 0...255, using: &generator)))
    case 1: port.removeBySurprise()
    case 2: port.empty()
    case 3: port.pressButton()
    case 4: port.setLinkActive(Bool.random(using: &generator))
    case 5: port.report(severity, source: 0x1234, isOwn: Bool.random(using: &generator))
    default: port.endContainment()
    }
  }

  private func check(_ port: RootPort, _ step: Int) {
    let status = port.slotStatus
    #expect(status.contains(.present) == port.isOccupied, "step \(step)")
    #expect(port.isLinkActive <= (port.isOccupied && !port.isResetting && !port.holdsLink))
    #expect(port.isForwarding <= (port.isReachable && !port.isContained))
    #expect(port.isReachable <= (port.isLinkActive && port.isPowered))
    #expect(port.isContained <= port.isOccupied)
    #expect((port.powerState == .d0) != (port.powerState == .d3hot))
    #expect(port.isINTxAsserted <= (port.read(ConfigOffset.status) & 8 != 0))
    #expect(port.isMessageOwed <= (port.read(PortOffset.messageControl) & 1 != 0))
    for offset in stride(from: 0x40, to: 0x9C, by: 4) {
      let bytes = (0..<4).map { port.read(offset + $0, 1) << UInt32($0 * 8) }.reduce(0, |)
      #expect(port.read(offset, 4) == bytes)
      #expect(port.read(offset) | port.read(offset + 2) << 16 == bytes)
    }
  }
}

extension Bool {
  /// True if the right side holds whenever the left side holds.
  fileprivate static func <= (left: Bool, right: Bool) -> Bool { !left || right }
}
