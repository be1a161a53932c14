// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Tests of a function's power states and resets.
@Suite struct ResetPathTests {
  private static let command = UInt64(ConfigOffset.command)

  private func configWrites(_ calls: [FakeWorld.Call], at offset: UInt64) -> [UInt64] {
    calls.compactMap {
      if case .write(RegionIndex.config, offset, let value) = $0 { value } else { nil }
    }
  }

  @Test("closes the gate before D3hot is written, and arms it again in D0")
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

  @Test("resets a function that does not keep its state on the transition from D3hot to D0")
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
    #expect(rig.device.command == 2, "the guest's COMMAND is restored")
    #expect(rig.connected == 1, "the guest's vectors are restored")
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.world.violations == [])
  }

  @Test("an FLR closes the gate, turns interrupts off, resets the function and restores the guest's COMMAND")
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

  @Test("a function whose reset fails continues to work, with one warning")
  func flrFails() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("reset", with: 25)
    for _ in 0..<2 { try rig.reset() }
    #expect(rig.seen.warnings == ["fake reset: errno 25: the device continues without a reset"])
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1)
  }

  @Test("warns about a device that does not keep the guest's COMMAND after a reset")
  func restore() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.device.state.withLock { $0.stuckCommand = 4 }
    for _ in 0..<2 { try rig.reset() }
    #expect(rig.device.command == 6)
    #expect(
      rig.seen.warnings == ["after the reset: COMMAND reads 0x6 instead of the guest's 0x2"]
    )
  }
}
