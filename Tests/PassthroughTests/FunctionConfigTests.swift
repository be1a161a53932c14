// SPDX-License-Identifier: Apache-2.0

import Fakes
import Linux
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Gate
@testable import Passthrough

/// Tests of a function's configuration space, power states and resets, as seen by the guest and the decoder.
@Suite struct FunctionConfigTests {
  private typealias Call = FakeWorld.Call

  private final class Answers: Sendable {
    let all = Mutex<[UInt32]>([])
  }

  /// Creates a function that keeps its state in D3hot.
  private func keeping(_ change: (inout FunctionRig.Options) -> Void = { _ in }) throws -> FunctionRig {
    try FunctionRig { options in
      options.shape.config[FunctionRig.power + 4] = 8
      change(&options)
    }
  }

  @Test("during a reset the guest reads all-ones, its writes are dropped and the BARs are not decoded")
  func duringReset() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.addNeighbour()
    #expect(rig.isDecoded)
    let (function, decoder, answers) = (rig.function, rig.context.decoder, Answers())
    rig.seen.react { event in
      guard case .reset = event else { return }
      let value = (try? function.readConfig(ConfigOffset.vendor, width: 4)) ?? 0
      try? function.writeConfig(ConfigOffset.interruptLine, width: 1, 0x55)
      let isDecoded = decoder.isShared(FunctionRig.base, size: 1)
      answers.all.withLock { $0 += [value, isDecoded ? 1 : 0] }
    }
    try rig.reset()
    #expect(answers.all.withLock { $0 } == [.max, 0])
    #expect(try rig.function.readConfig(ConfigOffset.interruptLine, width: 1) == 16)
    #expect(rig.isDecoded)
  }

  @Test("a function that is isolated during its reset stays isolated")
  func leavesDuringReset() throws {
    let rig = try FunctionRig()
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.maskMSIX(0, false)
    let function = rig.function
    rig.seen.react { event in
      guard case .reset = event else { return }
      try? function.isolate(OperationError("gone", errno: KernelError.io))
    }
    _ = rig.world.takeCalls()
    try rig.reset()
    #expect(!rig.world.takeCalls().contains { $0.name == "enable" || $0.name == "trigger" })
    #expect(rig.connected == 0 && rig.device.command == 0 && rig.slots == [])
    #expect(try rig.function.readConfig(ConfigOffset.vendor, width: 4) == .max)
  }

  @Test("BARs are decoded while the function is in D0 and not isolated")
  func decoding() throws {
    let rig = try keeping()
    rig.addNeighbour()
    #expect(!rig.isDecoded, "memory is off")
    try rig.command(2)
    #expect(rig.isDecoded)
    try rig.setPower(3)
    #expect(!rig.isDecoded)
    try rig.setPower(0)
    #expect(rig.isDecoded)
    try rig.function.handle(.error)
    #expect(!rig.isDecoded)
  }

  @Test("a register whose read fails reads all-ones, with one warning")
  func readFails() throws {
    let rig = try FunctionRig()
    rig.world.fail("read")
    #expect(try rig.function.readConfig(ConfigOffset.status, width: 2) == 0xFFFF)
    #expect(try rig.function.readConfig(ConfigOffset.command, width: 4) == .max)
    #expect(rig.seen.warnings == ["fake read: errno 5"])
    rig.world.fail("write")
    for _ in 0..<2 { try rig.function.writeConfig(ConfigOffset.status, width: 2, 0xF900) }
    #expect(rig.seen.warnings == ["fake read: errno 5", "fake write: errno 5"])
  }

  @Test("reports the old and the new value of COMMAND, and the reason for each change of a window")
  func events() throws {
    let rig = try FunctionRig { $0.policies.barMap = .eager }
    try rig.command(2)
    try rig.command(6)
    try rig.command(0)
    let changes = rig.seen.events.compactMap { event -> [UInt16]? in
      if case .command(let old, let new) = event { [old, new] } else { nil }
    }
    #expect(changes == [[0, 2], [2, 6], [6, 0]])
    func reasons(_ act: () throws -> Void) throws -> [TraceEvent.WindowReason] {
      rig.seen.clear()
      try act()
      try rig.function.openDueWindows()
      return rig.seen.events.compactMap { if case .gate(_, _, _, let reason) = $0 { reason } else { nil } }
    }
    for (step, reason) in [
      (FunctionRig.Step.memoryOn, TraceEvent.WindowReason.command), (.d3hot, .power), (.fault, .fault),
      (.memoryOff, .command), (.memoryOn, .command), (.reset, .reset), (.moveAway, .move),
    ] as [(FunctionRig.Step, TraceEvent.WindowReason)] {
      let all = try reasons { try rig.take(step) }
      #expect(all.allSatisfy { $0 == reason }, "\(step): \(all)")
      guard step == .d3hot else { continue }
      try rig.take(.d0)
      try rig.function.openDueWindows()
    }
    #expect(try reasons { try rig.move(0xE000_0000) }.contains(.move))
    #expect(try Set(reasons { try rig.function.quiesce() }) == [.shutdown])
  }

  // MARK: Power states

  @Test("the transition from D1 or D2 to D0 performs no reset", arguments: [1, 2] as [UInt32])
  func lightSleep(_ state: UInt32) throws {
    let rig = try FunctionRig { $0.shape.config[FunctionRig.power + 3] = 6 }  // D1 and D2
    try rig.command(2)
    try rig.setPower(state)
    #expect(try rig.read(FunctionRig.inFirst) == .max)
    _ = rig.world.takeCalls()
    try rig.setPower(0)
    #expect(!rig.world.takeCalls().contains(.reset))
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base])
  }

  @Test("restores COMMAND in D0 for a function without a reset, without a warning")
  func noReset() throws {
    let rig = try FunctionRig { $0.shape.hasReset = false }
    try rig.command(2)
    try rig.setPower(3)
    rig.device.state.withLock { $0.config[ConfigOffset.command] = 0 }
    let before = rig.seen.warnings
    try rig.setPower(0)
    #expect(rig.seen.warnings == before && rig.device.command == 2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base])
  }

  @Test("a function whose reset on the transition to D0 fails is nevertheless in D0")
  func resetFails() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.setPower(3)
    rig.world.fail("reset")
    try rig.setPower(0)
    #expect(rig.seen.warnings == ["fake reset: errno 5: the device continues without a reset"])
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base])
  }

  @Test("an FLR returns a function from D3hot to D0, in the guest's view too")
  func resetInD3hot() throws {
    let rig = try keeping()
    try rig.command(2)
    try rig.setPower(3)
    try rig.reset()
    #expect(try rig.function.readConfig(FunctionRig.power + 4, width: 2) & 3 == 0)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base] && rig.world.violations == [])
  }

  @Test("restores all of the guest's bits of COMMAND after a reset, without a warning")
  func restored() throws {
    let rig = try FunctionRig { options in
      options.shape.bars[1] = 16
      options.shape.ports = [1]
      options.shape.config[ConfigOffset.bar0 + 4] = 1
    }
    for command in [1, 2, 4, 7] as [UInt16] {
      try rig.command(UInt32(command))
      try rig.reset()
      #expect(rig.device.command == command)
    }
    #expect(rig.seen.warnings == [])
    rig.device.state.withLock { $0.stuckCommand = 1 }
    try rig.command(2)
    try rig.reset()
    #expect(
      rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("reads 0x3 instead of the guest's 0x2"))
  }

  // MARK: The start

  @Test("accesses wait before the reset at the start begins")
  func begun() throws {
    let rig = try FunctionRig()
    _ = rig.world.takeCalls()
    var before: [Call]?
    try rig.function.resetAtStart { before = rig.world.takeCalls() }
    #expect(before == [])
    #expect(rig.world.takeCalls().first == .reset)
  }

  @Test("no BAR is decoded after the reset at the start fails")
  func startFails() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.addNeighbour()
    rig.world.fail("reset")
    #expect(throws: FunctionError.self) { try rig.function.resetAtStart {} }
    #expect(!rig.isDecoded)
  }

  @Test("places a function: its interrupt line, the multifunction bit and the address of every BAR")
  func location() throws {
    let rig = try FunctionRig { options in
      for bar in 1..<6 { options.shape.bars[bar] = UInt64(0x1000) << UInt64(bar) }
    }
    let (function, base) = (rig.function, UInt32(FunctionRig.base))
    #expect(function.bars.map(\.index) == Array(0..<6))
    for bar in 0..<6 {
      let value = try function.readConfig(ConfigOffset.bar0 + bar * 4, width: 4)
      #expect(value == base + UInt32(bar) << 20)
    }
    #expect(try function.readConfig(ConfigOffset.interruptLine, width: 1) == 16)
    #expect(try function.readConfig(ConfigOffset.headerType, width: 1) == 0)
    try function.attach([], function: 9, isMultifunction: true, gsi: 17)
    #expect(try function.readConfig(ConfigOffset.headerType, width: 1) == 0x80)
    #expect(try function.readConfig(ConfigOffset.interruptLine, width: 1) == 17)
  }

  @Test("a function without an INTx pin has no interrupt line")
  func noPin() throws {
    let rig = try FunctionRig { $0.shape.config[ConfigOffset.interruptPin] = 0 }
    #expect(rig.function.interruptPin == nil)
    try rig.command(7)
    #expect(rig.connected == 0 && rig.device.state.withLock { $0.on } == nil)
    #expect(try rig.function.readConfig(ConfigOffset.interruptLine, width: 1) == 0xFF)
  }

  @Test("a refused optional bit of COMMAND is reserved, and a device that cannot be read is an error")
  func refusedOptional() throws {
    let world = FakeWorld()
    let optional = UInt64(Command.optional.rawValue)
    world.fail { _, call in call == .write(region: RegionIndex.config, offset: 4, optional) ? 22 : nil }
    let rig = try FunctionRig(FunctionRig.Options(), world: world)
    try rig.function.writeConfig(ConfigOffset.command, width: 2, UInt32(optional))
    #expect(try rig.function.readConfig(ConfigOffset.command, width: 2) & UInt32(optional) == 0)
    let lost = FakeWorld()
    lost.fail { _, call in call.name == "write" || call.name == "read" ? 5 : nil }
    #expect(throws: FunctionError.self) { try FunctionRig(FunctionRig.Options(), world: lost) }
  }

  @Test("reads the ROM while the device's memory is on, and then turns memory off")
  func romOrder() throws {
    let rig = try FunctionRig { $0.shape.rom = [UInt8](repeating: 0x55, count: 2048) }
    let command = UInt64(ConfigOffset.command)
    let calls = rig.world.takeCalls().filter { ["write", "readAll"].contains($0.name) }
    #expect(calls.first == .write(region: RegionIndex.config, offset: command, 2))
    #expect(calls.dropFirst().first == .readAll(region: RegionIndex.rom))
    #expect(rig.device.command == 0)
  }

  @Test("demotes the windows of a device whose COMMAND reads all-ones")
  func allOnes() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    rig.device.state.withLock { state in
      state.config[ConfigOffset.command] = 0xFF
      state.config[ConfigOffset.command + 1] = 0xFF
    }
    #expect(try rig.function.demote(.memoryOff))
    #expect(rig.slots == [])
  }
}
