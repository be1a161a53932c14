// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Tests of a function's start, from the opened device to the guest.
@Suite struct StartPathTests {
  private static let command = UInt64(ConfigOffset.command)

  @Test("a new function has memory and bus mastering off, and nothing mapped")
  func start() throws {
    let rig = try FunctionRig()
    #expect(rig.device.command == 0)
    #expect(rig.slots == [] && rig.connected == 0)
    #expect(rig.function.statistics.windows == 2)
    #expect(rig.function.statistics.vectors == 8)
    #expect(rig.function.bars.map(\.size) == [FunctionRig.barSize])
    #expect(rig.function.interruptPin == 0)
    let names = rig.world.takeCalls().map(\.name)
    #expect(!names.contains("reset"), "the kernel has reset the device on open")
  }

  @Test("refuses a device that reads all-ones, with the cause")
  func absent() throws {
    let error = #expect(throws: FunctionError.self) {
      try FunctionRig { $0.shape.config = [UInt8](repeating: 0xFF, count: 4096) }
    }
    #expect(error?.description.contains("all-ones") == true)
    #expect(error?.cause.errno == nil)
  }

  @Test(
    "resets a device that needs a bus reset on creation, and a device with its own reset in resetAtStart"
  )
  func startReset() throws {
    let bus = try FunctionRig { options in
      options.shape.hasReset = false
      options.shape.busResetScope = [ResetDependent(group: "1", address: "0000:00:05.0", isOwned: true)]
    }
    #expect(bus.world.takeCalls().first == .resetBus)
    #expect(bus.function.isResetAlone)
    let alone = try FunctionRig()
    _ = alone.world.takeCalls()
    var hasBegun = false
    try alone.function.resetAtStart { hasBegun = true }
    #expect(hasBegun)
    #expect(alone.world.takeCalls() == [.reset, .write(region: RegionIndex.config, offset: Self.command, 0)])
    let none = try FunctionRig { $0.shape.hasReset = false }
    #expect(none.seen.warnings.count == 1 && none.seen.warnings[0].contains("no reset is available"))
    _ = none.world.takeCalls()
    try none.function.resetAtStart {}
    #expect(none.world.takeCalls() == [])
  }

  @Test("a device whose reset at the start fails does not answer the guest, and the error is thrown")
  func startResetFails() throws {
    let rig = try FunctionRig()
    rig.world.fail("reset")
    #expect(throws: FunctionError.self) { try rig.function.resetAtStart {} }
    #expect(try rig.function.readConfig(0, width: 4) == .max)
  }

  @Test("a copy of the expansion ROM answers while the ROM's enable bit and the memory bit are on")
  func rom() throws {
    let rig = try FunctionRig { $0.shape.rom = (0..<4096).map { UInt8($0 & 0xFF) } }
    let bar = try #require(rig.function.bars.first { $0.kind == .rom })
    #expect(bar.size == 4096)
    func read(_ offset: UInt64, _ width: Int) throws -> UInt64 {
      try rig.function.readMemory(bar: BAR.romIndex, offset: offset, width: width)
    }
    try rig.command(2)
    #expect(try read(4, 4) == .max, "the ROM's enable bit is off")
    try rig.function.writeConfig(ConfigOffset.rom, width: 4, 0xDF00_0001)
    #expect(try read(4, 4) == 0x0706_0504)
    #expect(try read(4094, 4) == .max, "beyond the end of the ROM")
    try rig.function.writeMemory(bar: BAR.romIndex, offset: 4, width: 4, 0)
    #expect(try read(4, 4) == 0x0706_0504, "the ROM is read-only")
    try rig.command(0)
    #expect(try read(4, 4) == .max)
  }

  @Test("hides a ROM that cannot be read from the guest, with one warning")
  func romFails() throws {
    let world = FakeWorld()
    world.fail { _, call in call == .readAll(region: RegionIndex.rom) ? 5 : nil }
    var options = FunctionRig.Options()
    options.shape.rom = [UInt8](repeating: 0x55, count: 4096)
    let rig = try FunctionRig(options, world: world)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("the expansion ROM cannot be read"))
    #expect(!rig.function.bars.contains { $0.kind == .rom })
  }
}
