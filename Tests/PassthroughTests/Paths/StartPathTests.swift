// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// The start of a function, from the device that the kernel has opened to the guest.
@Suite struct StartPathTests {
  private static let command = UInt64(ConfigOffset.command)

  @Test("the start leaves the device with memory and bus mastering off, and nothing mapped")
  func start() throws {
    let rig = try FunctionRig()
    #expect(rig.device.command == 0)
    #expect(rig.slots == [] && rig.connected == 0)
    #expect(rig.function.statistics.windows == 2)
    #expect(rig.function.statistics.vectors == 8)
    #expect(rig.function.bars.map(\.size) == [FunctionRig.barSize])
    #expect(rig.function.interruptPin == 0)
    let names = rig.world.takeCalls().map(\.name)
    #expect(!names.contains("reset"), "the kernel has reset what it opened")
  }

  @Test("a device that reads all-ones is refused with the reason")
  func absent() throws {
    let error = #expect(throws: FunctionError.self) {
      try FunctionRig { $0.shape.config = [UInt8](repeating: 0xFF, count: 4096) }
    }
    #expect(error?.description.contains("all-ones") == true)
    #expect(error?.cause.errno == nil)
  }

  @Test(
    "a device that only its bus resets is reset at once; one that the kernel resets alone is reset for the guest"
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
    #expect(none.seen.warnings.count == 1 && none.seen.warnings[0].contains("it has no reset"))
    _ = none.world.takeCalls()
    try none.function.resetAtStart {}
    #expect(none.world.takeCalls() == [])
  }

  @Test("a device whose reset for the guest fails does not answer it, and ends the start")
  func startResetFails() throws {
    let rig = try FunctionRig()
    rig.world.fail("reset")
    #expect(throws: FunctionError.self) { try rig.function.resetAtStart {} }
    #expect(try rig.function.readConfig(0, width: 4) == .max)
  }

  @Test("the expansion ROM is a copy that answers while its bit and the memory bit are on")
  func rom() throws {
    let rig = try FunctionRig { $0.shape.rom = (0..<4096).map { UInt8($0 & 0xFF) } }
    let bar = try #require(rig.function.bars.first { $0.kind == .rom })
    #expect(bar.size == 4096)
    func read(_ offset: UInt64, _ width: Int) throws -> UInt64 {
      try rig.function.readMemory(bar: BAR.romIndex, offset: offset, width: width)
    }
    try rig.command(2)
    #expect(try read(4, 4) == .max, "its own bit is off")
    try rig.function.writeConfig(ConfigOffset.rom, width: 4, 0xDF00_0001)
    #expect(try read(4, 4) == 0x0706_0504)
    #expect(try read(4094, 4) == .max, "beyond its end")
    try rig.function.writeMemory(bar: BAR.romIndex, offset: 4, width: 4, 0)
    #expect(try read(4, 4) == 0x0706_0504, "it is read-only")
    try rig.command(0)
    #expect(try read(4, 4) == .max)
  }

  @Test("a ROM that cannot be read is not shown, with one warning")
  func romFails() throws {
    let world = FakeWorld()
    world.fail { _, call in call == .readAll(region: RegionIndex.rom) ? 5 : nil }
    var options = FunctionRig.Options()
    options.shape.rom = [UInt8](repeating: 0x55, count: 4096)
    let rig = try FunctionRig(options, world: world)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("its expansion ROM cannot be read"))
    #expect(!rig.function.bars.contains { $0.kind == .rom })
  }
}
