// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Passthrough

/// Tests of a function's interrupts: kinds, counts, pending bits and power states.
@Suite struct FunctionInterruptTests {
  private typealias Call = FakeWorld.Call

  private func event(_ rig: FunctionRig, _ vector: Int) throws -> Int32 {
    try #require(rig.device.state.withLock { $0.triggers[vector] })
  }

  @Test("enables MSI with the guest's count and MSI-X with one vector")
  func counts() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    _ = rig.world.takeCalls()
    for (count, vectors) in [(0, 1), (2, 4), (1, 2)] as [(UInt32, Int)] {
      try rig.setMSI(true, count: count)
      #expect(rig.world.takeCalls().filter { $0.name == "enable" } == [.enable(.msi, vectors)])
      #expect(rig.connected == vectors)
    }
    try rig.setMSI(false)
    try rig.setMSIX(true)
    #expect(rig.world.takeCalls().contains(.enable(.msix, 1)))
  }

  @Test("reports each kind that is turned on with its count, and each change of a vector")
  func events() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSI(true, count: 1)
    let modes = rig.seen.events.compactMap { event -> Int? in
      if case .interrupts(let mode, let count) = event { mode == .msi ? count : -1 } else { nil }
    }
    #expect(modes == [-1, 2], "INTx, then MSI")
    try rig.setMSI(false)
    try rig.setMSIX(true)
    rig.seen.clear()
    try rig.maskMSIX(3, false)
    try rig.write(0x1038, 0x51)
    try rig.maskMSIX(3, true)
    try rig.maskMSIX(3, true)
    try rig.maskMSIX(3, false)
    let changes = rig.seen.events.compactMap { event -> TraceEvent.VectorOperation? in
      if case .vector(3, let change) = event { change } else { nil }
    }
    #expect(changes == [.allocate, .unmask, .route, .mask, .unmask])
  }

  @Test("MSI-X takes precedence over MSI, whose registers then have no effect", arguments: [false, true])
  func both(_ isMSIFirst: Bool) throws {
    let rig = try FunctionRig()
    try rig.command(2)
    for step in isMSIFirst ? [FunctionRig.Step.msiOn, .msixOn] : [.msixOn, .msiOn] { try rig.take(step) }
    #expect(rig.device.state.withLock { $0.on } == .msix)
    try rig.maskMSI(3)
    try rig.maskMSI(0)
    #expect(rig.connected == 0, "the table masks every vector")
    try rig.maskMSIX(1, false)
    try rig.maskMSI(3)
    #expect(rig.connected == 1)
  }

  @Test("keeps INTx on when the guest disables memory and I/O space")
  func pinStays() throws {
    let rig = try FunctionRig()
    for command in [2, 0, 1, 4, 0] as [UInt32] {
      try rig.command(command)
      #expect(rig.connected == 1 && rig.device.state.withLock { $0.on } == .intx)
    }
    let (trigger, unmask) = rig.device.state.withLock { ($0.triggers[0], $0.unmask) }
    let raising = rig.world.state.withLock { ($0.connected, $0.resamples) }
    #expect(trigger != unmask && raising.0.first?.key == trigger && raising.0.first?.value == 16)
    #expect(try raising.1[#require(trigger)] == unmask)
  }

  @Test("an unmask or a message change in D3hot takes effect in D0")
  func inD3hot() throws {
    let rig = try FunctionRig { $0.shape.config[FunctionRig.power + 4] = 8 }  // No_Soft_Reset
    try rig.command(2)
    try rig.maskMSI(2)
    try rig.setMSI(true, count: 1)
    #expect(rig.connected == 1 && rig.routes == [0])
    try rig.setPower(3)
    try rig.maskMSI(0)
    try rig.function.writeConfig(FunctionRig.message + 12, width: 2, 0x50)
    #expect(rig.connected == 1)
    try rig.setPower(0)
    #expect(rig.connected == 2 && rig.routes == [0x50, 0x51])
  }

  @Test("reads MSI pending bits from the eventfds, and from the device for vectors without a trigger")
  func pendingMSI() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    func pending() throws -> UInt32 { try rig.function.readConfig(FunctionRig.message + 20, width: 4) }
    try rig.maskMSI(0xE)
    rig.device.state.withLock { $0.config[FunctionRig.message + 20] = 0b0111 }
    try rig.setMSI(true, count: 2)
    #expect(try pending() == 0b0110, "vector 0 is not masked")
    try rig.maskMSI(0xF)
    #expect(try pending() == 0b0110, "the eventfd of vector 0 is not signalled")
    EventCount.raise(try event(rig, 0))
    #expect(try pending() == 0b0111)
    #expect(try rig.function.readConfig(FunctionRig.message + 20, width: 1) == 0b0111)
    rig.world.fail { _, call in
      call == .read(region: RegionIndex.config, offset: UInt64(FunctionRig.message + 20)) ? 5 : nil
    }
    #expect(try pending() == 1, "the bits of the eventfds")
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("pending"))
  }

  @Test("reads MSI-X pending bits above vector 63 from later words, and drops writes to them")
  func manyPending() throws {
    let rig = try FunctionRig { options in
      options.shape.config[FunctionRig.msix + 2] = 99
      options.shape.interrupts[.msix] = InterruptInfo(count: 100, isFixed: false)
    }
    try rig.command(2)
    try rig.setMSIX(true)
    try #require(try rig.device.write(0, offset: 0x2000, width: 8, 0b1) == ())
    try #require(try rig.device.write(0, offset: 0x2008, width: 8, 0b1_1000) == ())
    #expect(try rig.read(0x2000, width: 8) == 0b1 && rig.read(0x2008, width: 8) == 0b1_1000)
    try rig.maskMSIX(67, false)
    #expect(try rig.read(0x2008, width: 8) == 0b1_0000, "vector 67 is not masked")
    try rig.maskMSIX(67, true)
    EventCount.raise(try event(rig, 67))
    #expect(try rig.read(0x2008, width: 8) == 0b1_1000)
    #expect(try rig.read(0x2000, width: 8) == 0b1)
    for offset in [0x2000, 0x2008] as [UInt64] { try rig.write(offset, 0, width: 8) }
    #expect(rig.device.peek(bar: 0, 0x2000) == 1 && rig.device.peek(bar: 0, 0x2008) == 0b1_1000)
  }

  @Test("emulates the MSI-X table: no access to it reaches the device")
  func table() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    _ = rig.world.takeCalls()
    try rig.write(0x1008, 0x1234)
    #expect(try rig.read(0x1008) == 0x1234 && rig.read(0x100C) == 1)
    #expect(try rig.read(0x1002, width: 2) == .max && rig.read(0x1030, width: 8) == 0)
    #expect(rig.world.takeCalls() == [])
    #expect(rig.device.peek(bar: 0, 0x1008) == 0)
  }
}
