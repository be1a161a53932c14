// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

/// Advanced error reporting (PCIe 6.0 §7.8.4) and containment.
@Suite struct PortErrorTests {
  private static let severities: [(RootPort.ErrorSeverity, UInt32)] = [
    (.correctable, 0x01), (.nonFatal, 0x24), (.fatal, 0x54),
  ]
  private static let source: UInt16 = 0x0108
  private var port = RootPort.probed()

  @Test("the registers have their default values and writable bits")
  func registers() {
    var port = RootPort(RootPort.layout, link: RootPort.link)
    for (offset, value, written) in [
      (0x04, 0, 0), (0x08, 0x0040_0000, 0x007F_F010), (0x0C, 0x0046_2010, 0x007F_F010), (0x10, 0, 0),
      (0x14, 0xE000, 0xF1C1), (0x18, 0, 0), (0x1C, 0, 0), (0x2C, 0, 7), (0x30, 0, 0), (0x34, 0, 0),
    ] as [(Int, UInt32, UInt32)] {
      #expect(port.read(PortOffset.errors + offset, 4) == value)
      #expect(port.effects(PortOffset.errors + offset, 4, .max) == [])
      #expect(port.read(PortOffset.errors + offset, 4) == written, "register \(offset)")
    }
  }

  @Test("a message from the slot sets status, source and interrupt", arguments: severities)
  mutating func forwarded(_ error: RootPort.ErrorSeverity, _ status: UInt32) {
    port.report(error, source: Self.source, isOwn: false)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == status)
    let isCorrectable = error == .correctable
    #expect(port.read(PortOffset.errorSource, 4) == (isCorrectable ? 0x108 : 0x0108_0000))
    #expect(port.read(PortOffset.secondaryStatus) == (isCorrectable ? 0 : 0x4000))
    #expect(port.read(PortOffset.deviceStatus) == 0)
    #expect(port.read(PortOffset.uncorrectableStatus, 4) == 0)
    // Linux writes the value back.
    #expect(port.effects(PortOffset.rootErrorStatus, 4, status) == [])
    #expect(port.read(PortOffset.rootErrorStatus, 4) == 0)
    #expect(port.read(PortOffset.errorSource, 4) != 0)
  }

  @Test("an error of the port also sets its own status", arguments: severities)
  mutating func own(_ error: RootPort.ErrorSeverity, _ status: UInt32) {
    port.report(error, source: 0x0008, isOwn: true)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == status)
    let isCorrectable = error == .correctable
    #expect(port.read(PortOffset.correctableStatus, 4) == (isCorrectable ? 1 : 0))
    let bit: UInt32 = error == .fatal ? 4 : 14
    #expect(port.read(PortOffset.uncorrectableStatus, 4) == (isCorrectable ? 0 : 1 << bit))
    #expect(port.read(PortOffset.errorControl, 4) == (isCorrectable ? 0 : bit))
    #expect(port.read(PortOffset.deviceStatus) == (isCorrectable ? 1 : error == .fatal ? 4 : 2))
    #expect(port.read(PortOffset.secondaryStatus) == 0)
    // Each status register is cleared by writing 1.
    for (offset, width) in [
      (PortOffset.correctableStatus, 4), (PortOffset.uncorrectableStatus, 4), (PortOffset.deviceStatus, 2),
    ] {
      _ = port.effects(offset, width, port.read(offset, width))
      #expect(port.read(offset, width) == 0)
    }
  }

  @Test("further errors set the bits for multiple errors; the first source stays")
  mutating func multiple() {
    port.report(.correctable, source: 1, isOwn: false)
    port.report(.correctable, source: 2, isOwn: false)
    port.report(.nonFatal, source: 3, isOwn: false)
    port.report(.fatal, source: 4, isOwn: false)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == 0x6F, "the first uncorrectable error was non-fatal")
    #expect(port.read(PortOffset.errorSource, 4) == 0x0003_0001)
    #expect(port.takeMessage() == RootPort.message)
    #expect(port.takeMessage() == nil)
  }

  @Test("the First Error Pointer stays at the first unmasked error")
  mutating func firstError() {
    port.report(.nonFatal, source: 8, isOwn: true)
    port.report(.fatal, source: 8, isOwn: true)
    #expect(port.read(PortOffset.errorControl, 4) == 14)
    _ = port.effects(PortOffset.uncorrectableStatus, 4, 1 << 14 | 1 << 4)
    port.report(.fatal, source: 8, isOwn: true)
    #expect(port.read(PortOffset.errorControl, 4) == 4)
  }

  @Test("bridge control without SERR# stops messages from the slot", arguments: severities)
  mutating func notForwarded(_ error: RootPort.ErrorSeverity, _ status: UInt32) {
    _ = port.effects(PortOffset.bridgeControl, 2, 0)
    port.report(error, source: Self.source, isOwn: false)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == 0)
    #expect(port.takeMessage() == nil)
    #expect(port.isContained == (error == .fatal), "containment needs no enable")
  }

  @Test("device control or SERR# enables an uncorrectable message", arguments: severities, [false, true])
  mutating func enables(_ error: (RootPort.ErrorSeverity, UInt32), _ isOwn: Bool) {
    _ = port.effects(PortOffset.deviceControl, 2, 0)
    port.report(error.0, source: Self.source, isOwn: isOwn)
    let isForwardedCorrectable = error.0 == .correctable && !isOwn
    #expect(port.read(PortOffset.rootErrorStatus, 4) == (isForwardedCorrectable ? 1 : 0))
    #expect(port.read(ConfigOffset.status) & 0x4000 == 0)
    guard error.0 != .correctable else { return }
    _ = port.effects(ConfigOffset.command, 2, 0x506)
    port.report(error.0, source: Self.source, isOwn: isOwn)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == error.1)
    #expect(port.read(ConfigOffset.status) & 0x4000 != 0, "Signaled System Error")
  }

  @Test("each severity has its enable in device control", arguments: [1, 2, 4] as [UInt32])
  mutating func severityEnables(_ enable: UInt32) {
    _ = port.effects(PortOffset.deviceControl, 2, enable)
    for (error, _) in Self.severities { port.report(error, source: 8, isOwn: true) }
    let expected: UInt32 = enable == 1 ? 0x01 : enable == 2 ? 0x24 : 0x54
    #expect(port.read(PortOffset.rootErrorStatus, 4) == expected)
  }

  @Test("a masked error of the port is recorded and not sent", arguments: severities)
  mutating func masked(_ error: RootPort.ErrorSeverity, _ status: UInt32) {
    _ = port.effects(PortOffset.uncorrectableMask, 4, .max)
    _ = port.effects(PortOffset.correctableMask, 4, .max)
    port.report(error, source: 8, isOwn: true)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == 0)
    #expect(port.read(PortOffset.errorControl, 4) == 0)
    #expect(
      port.read(PortOffset.correctableStatus, 4) | port.read(PortOffset.uncorrectableStatus, 4) != 0)
    #expect(port.read(PortOffset.deviceStatus) != 0)
  }

  @Test("the severity register decides the message of the port's own error")
  mutating func severityRegister() {
    _ = port.effects(PortOffset.uncorrectableSeverity, 4, 1 << 14)
    port.report(.nonFatal, source: 8, isOwn: true)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == 0x54)
    #expect(port.read(PortOffset.deviceStatus) == 4)
  }

  @Test("without a root error command the status is set and no interrupt is sent", arguments: severities)
  mutating func rootCommand(_ error: RootPort.ErrorSeverity, _ status: UInt32) {
    _ = port.effects(PortOffset.rootErrorCommand, 4, 0)
    port.report(error, source: Self.source, isOwn: false)
    #expect(port.read(PortOffset.rootErrorStatus, 4) == status)
    #expect(port.takeMessage() == nil)
    let enable: UInt32 = error == .correctable ? 1 : error == .nonFatal ? 2 : 4
    #expect(port.effects(PortOffset.rootErrorCommand, 4, 7 & ~enable) == [])
    #expect(port.effects(PortOffset.rootErrorCommand, 1, enable) == [.interrupt])
    #expect(port.takeMessage() == RootPort.message)
  }

  @Test("a fatal error contains the slot until the owner or an insertion ends it")
  mutating func containment() {
    port.report(.correctable, source: Self.source, isOwn: false)
    #expect(!port.isContained)
    port.report(.nonFatal, source: Self.source, isOwn: false)
    #expect(!port.isContained && port.isForwarding, "Linux does not reset the slot")
    port.report(.fatal, source: Self.source, isOwn: false)
    #expect(port.isContained && !port.isForwarding && port.isReachable)
    port.endContainment()
    #expect(port.isForwarding)
    port.report(.fatal, source: Self.source, isOwn: true)
    #expect(port.isContained)
    port.removeBySurprise()
    #expect(!port.isContained)
    port.report(.fatal, source: Self.source, isOwn: true)
    #expect(!port.isContained, "an empty slot has nothing to contain")
  }

  @Test("a power-off ends the containment")
  mutating func powerOff() {
    port.report(.fatal, source: Self.source, isOwn: false)
    #expect(port.setPower(false).contains(.eject))
    _ = port.setPower(true)
    #expect(port.isForwarding)
  }
}
