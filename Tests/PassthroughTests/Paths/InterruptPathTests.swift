// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Tests of INTx, MSI and MSI-X, from the registers to the calls through the seams.
@Suite struct InterruptPathTests {
  @Test("enables MSI-X with one vector, and adds each further vector when it is unmasked")
  func msix() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSIX(true)
    _ = rig.world.takeCalls()
    try rig.setMessage(2, 0x41)
    #expect(rig.world.takeCalls() == [], "the vector is masked")
    try rig.maskMSIX(2, false)
    #expect(rig.world.takeCalls().map(\.name) == ["makeEventFD", "route", "connect", "trigger"])
    #expect(rig.routes == [0x41])
    try rig.setMessage(2, 0x42)
    #expect(rig.routes == [0x42])
    _ = rig.world.takeCalls()
    try rig.maskMSIX(2, true)
    #expect(rig.world.takeCalls().map(\.name) == ["disconnect"])
    try rig.maskMSIX(2, false)
    #expect(rig.world.takeCalls().map(\.name) == ["route", "connect"], "the vector has its trigger")
    try rig.setMSIX(true, masked: true)
    #expect(rig.connected == 0)
    try rig.setMSIX(true)
    #expect(rig.connected == 1)
    #expect(rig.function.statistics.vectorsUsed == 1)
    try rig.setMSIX(false)
    #expect(rig.connected == 1 && rig.routes == [], "INTx only")
    #expect(rig.device.state.withLock { $0.on } == .intx)
  }

  @Test("reads MSI-X pending bits from the eventfds, and from the device for vectors without a trigger")
  func pendingMSIX() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    // The device's own pending bits are in its memory.
    try #require(try rig.device.write(0, offset: 0x2000, width: 8, 0b1101) == ())
    try rig.setMSIX(true)
    #expect(try rig.read(0x2000, width: 8) == 0b1101)
    try rig.maskMSIX(0, false)
    #expect(try rig.read(0x2000, width: 8) == 0b1100, "vector 0 is not masked")
    try rig.maskMSIX(0, true)
    #expect(try rig.read(0x2000, width: 4) == 0b1100, "the eventfd of vector 0 is not signalled")
    rig.world.fail { _, call in call == .read(region: 0, offset: 0x2000) ? 5 : nil }
    #expect(try rig.read(0x2000, width: 8) == 0)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("pending"))
    try rig.write(0x2000, 0xFF)
    rig.world.succeed()
    #expect(try rig.read(0x2001, width: 1) == 0)
  }

  @Test("connects the MSI vectors that the guest has enabled and not masked")
  func msi() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.function.writeConfig(FunctionRig.message + 4, width: 4, 0xFEE0_0000)
    try rig.function.writeConfig(FunctionRig.message + 12, width: 2, 0x60)
    try rig.setMSI(true, count: 1)
    #expect(rig.connected == 2 && rig.routes == [0x60, 0x61])
    try rig.maskMSI(1)
    #expect(rig.connected == 1)
    #expect(try rig.function.readConfig(FunctionRig.message + 20, width: 4) == 0)
    try rig.maskMSI(0)
    try rig.function.writeConfig(FunctionRig.message + 12, width: 2, 0x70)
    #expect(rig.connected == 2 && rig.routes == [0x70, 0x71])
    try rig.setMSI(false)
    #expect(rig.connected == 1 && rig.routes == [], "INTx only")
  }

  @Test("INTx is on from the first enable bit, and off while MSI is enabled")
  func pin() throws {
    let rig = try FunctionRig()
    #expect(rig.connected == 0)
    try rig.command(2)
    #expect(rig.connected == 1)
    #expect(rig.device.state.withLock { $0.on == .intx && $0.unmask != nil })
    try rig.setMSI(true)
    #expect(rig.device.state.withLock { $0.on } == .msi)
    try rig.setMSI(false)
    #expect(rig.device.state.withLock { $0.on } == .intx)
  }

  @Test("warns once about interrupts that the host lacks, and retries at the guest's next write")
  func lacking() throws {
    for name in ["enable", "connectLevel"] {
      let rig = try FunctionRig()
      rig.world.fail(name, with: 16)
      try rig.command(2)
      try rig.setMSIX(true)
      try rig.setMSIX(false)
      try rig.setMSIX(true)
      let expected =
        name == "enable"
        ? "the vectors cannot be enabled: fake enable: errno 16"
        : "INTx cannot be enabled: fake connectLevel: errno 16"
      #expect(rig.seen.warnings == [expected])
      rig.world.succeed()
      try rig.setMSIX(false)
      try rig.setMSIX(true)
      #expect(rig.device.state.withLock { $0.on } == .msix)
    }
  }

  @Test("warns once if the host has fewer vectors, and the guest's other vectors stay masked")
  func fewVectors() throws {
    let rig = try FunctionRig { options in
      options.shape.hostVectors = 2
      options.shape.interrupts[.msix] = InterruptInfo(count: 4, isFixed: true)
    }
    try rig.command(2)
    try rig.setMSIX(true)
    for vector in 0..<4 as Range<UInt64> { try rig.maskMSIX(vector, false) }
    #expect(rig.connected == 2)
    #expect(rig.seen.warnings == ["the host provides 2 vectors, the guest requested 4"])
  }

  @Test("a vector stays masked if no descriptor is free, and the warning has the reason descriptorLimit")
  func noDescriptor() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSIX(true)
    rig.world.fail("makeEventFD", with: 24)
    try rig.maskMSIX(0, false)
    #expect(rig.connected == 0)
    #expect(rig.seen.warnings == ["vector 0 stays masked: fake makeEventFD: errno 24"])
    #expect(rig.seen.reasons == [.descriptorLimit])
    rig.world.fail("disconnect", with: 22)
    try rig.maskMSIX(1, false)
    try rig.maskMSIX(1, true)
    #expect(rig.seen.warnings.last == "vector 1 cannot be masked: fake disconnect: errno 22")
  }
}
