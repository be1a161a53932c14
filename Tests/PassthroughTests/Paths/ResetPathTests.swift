// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Power states and resets of a function.
@Suite struct ResetPathTests {
  private static let command = UInt64(ConfigOffset.command)

  private func configWrites(_ calls: [FakeWorld.Call], at offset: UInt64) -> [UInt64] {
    calls.compactMap {
      if case .write(RegionIndex.config, offset, let value) = $0 { value } else { nil }
    }
  }

  @Test("D3hot closes the gate before the device is written, and D0 arms it again")
  func power() throws {
    let rig = try FunctionRig { options in options.shape.config[FunctionRig.power + 4] = 8 }  // No_Soft_Reset
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    _ = rig.world.takeCalls()
    try rig.setPower(3)
    let sleep = rig.world.takeCalls()
    #expect(sleep.first?.name == "removeSlot")
    #expect(Set(configWrites(sleep, at: UInt64(FunctionRig.power + 4))) == [3])
    #expect(try rig.read(0x10) == .max)
    try rig.setPower(0)
    let calls = rig.world.takeCalls()
    #expect(Set(configWrites(calls, at: UInt64(FunctionRig.power + 4))) == [0])
    #expect(configWrites(calls, at: Self.command) == [2], "the device may have lost COMMAND")
    #expect(!calls.contains(.reset))
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.world.violations == [])
  }

  @Test("a function that does not keep its state is reset on its way to D0")
  func softReset() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setMSIX(true)
    try rig.maskMSIX(1, false)
    try rig.touch(FunctionRig.inFirst)
    try rig.setPower(3)
    _ = rig.world.takeCalls()
    try rig.setPower(0)
    #expect(rig.world.takeCalls().contains(.reset))
    #expect(rig.device.command == 2, "the guest keeps its COMMAND")
    #expect(rig.connected == 1, "and its vectors")
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.world.violations == [])
  }

  @Test("FLR closes the gate, turns interrupts off, resets, and gives the guest's COMMAND back")
  func flr() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.maskMSIX(0, false)
    try rig.touch(FunctionRig.inFirst)
    _ = rig.world.takeCalls()
    try rig.reset()
    let names = rig.world.takeCalls().map(\.name)
    let order = ["removeSlot", "unmap", "disable", "disconnect", "reset", "enable", "connect", "trigger"]
    #expect(names.filter(order.contains) == order)
    #expect(rig.device.command == 6)
    #expect(rig.connected == 1 && rig.slots == [] && rig.world.violations == [])
  }

  @Test("a reset that fails leaves the function as it is, with one warning")
  func flrFails() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("reset", with: 25)
    for _ in 0..<2 { try rig.reset() }
    #expect(rig.seen.warnings == ["fake reset: errno 25; it goes on as it is"])
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1)
  }

  @Test("a device that does not take COMMAND back after its reset is told about")
  func restore() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.device.state.withLock { $0.stuckCommand = 4 }
    for _ in 0..<2 { try rig.reset() }
    #expect(rig.device.command == 6)
    #expect(
      rig.seen.warnings == ["after its reset the command register reads 0x6, and not 0x2 as the guest had it"]
    )
  }
}
