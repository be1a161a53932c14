// SPDX-License-Identifier: Apache-2.0

import Fakes
import Linux
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

@Suite struct AssignedFunctionTests {
  @Test("turns MSI and MSI-X on in D0 if the guest enables them in D3hot", arguments: [false, true])
  func enableInD3hot(_ isMSIX: Bool) throws {
    let rig = try FunctionRig { $0.shape.hasReset = false }
    try rig.command(0x0400)
    try rig.setPower(3)
    _ = rig.world.takeCalls()
    try isMSIX ? rig.setMSIX(true) : rig.setMSI(true)
    #expect(
      !rig.world.takeCalls().contains { $0.name == "enable" }, "interrupts are not enabled in D3hot")
    try rig.setPower(0)
    #expect(rig.device.state.withLock { $0.on } == (isMSIX ? .msix : .msi))
  }

  @Test("an FLR in D3hot leaves a device without a reset in D3hot, with the guest's registers")
  func resetInD3hot() throws {
    let rig = try FunctionRig { $0.shape.hasReset = false }
    try rig.setMSIX(true)
    try rig.setPower(3)
    let before = rig.seen.warnings.count
    try rig.reset()
    #expect(try rig.function.readConfig(FunctionRig.power + 4, width: 2) == 3)
    #expect(try rig.function.readConfig(FunctionRig.msix + 2, width: 2) == 0x8003)
    #expect(rig.seen.warnings.count == before + 1, "one warning about the missing reset")
    #expect(rig.seen.warnings.last?.contains("no reset affects this device alone") == true)
  }

  /// The maximum number of warnings: one of each kind, and the warning at the start.
  private static let most = 20

  @Test(
    "no sequence of guest writes in any state ends the VM or violates a rule",
    arguments: [false, true], [MappingPolicy.onFault, .eager])
  func sequences(_ hasReset: Bool, _ policy: MappingPolicy) throws {
    let steps = FunctionRig.Step.allCases
    let rig = try FunctionRig { options in
      options.shape.hasReset = hasReset
      options.policies.barMap = policy
      options.peers = [.mapped(policy), .off]
    }
    for first in steps {
      for second in steps {
        for third in steps { for step in [first, second, third] { try rig.take(step) } }
      }
    }
    #expect(rig.world.violations == [])
    let warnings = rig.seen.warnings
    #expect(warnings.count <= Self.most && Set(warnings).count == warnings.count, "\(warnings)")
    #expect(rig.routes.count <= 4, "no route is leaked")
  }

  @Test("an isolated function reads all-ones and logs no further warning for any sequence of guest writes")
  func gone() throws {
    let rig = try FunctionRig()
    try rig.command(6)
    try rig.setMSIX(true)
    try rig.function.isolate(OperationError("slot 1, remove: no memory", errno: KernelError.noMemory))
    let warnings = rig.seen.warnings
    #expect(warnings.last == "isolated from the guest: slot 1, remove: no memory")
    _ = rig.world.takeCalls()
    for first in FunctionRig.Step.allCases {
      for second in FunctionRig.Step.allCases { for step in [first, second] { try rig.take(step) } }
    }
    #expect(rig.world.takeCalls() == [], "no call reaches the device")
    #expect(rig.seen.warnings == warnings)
    #expect(try rig.function.readConfig(0, width: 4) == .max)
    #expect(try rig.read(0) == .max)
  }

  @Test("frees the routes of vectors that are off")
  func noLeak() throws {
    let rig = try FunctionRig()
    try rig.command(6)
    for _ in 0..<100 {
      try rig.setMSIX(true)
      for vector in 0..<4 as Range<UInt64> { try rig.maskMSIX(vector, false) }
      #expect(rig.routes.count == 4)
      try rig.setMSIX(false)
      try rig.setMSI(true)
      try rig.reset()
      try rig.setMSI(false)
    }
    #expect(rig.routes.count == 0)
    #expect(rig.seen.warnings.count == 0)
  }

  @Test("reads beyond a 256-byte configuration space return all-ones without a warning")
  func shortConfig() throws {
    let rig = try FunctionRig { $0.shape = FunctionRig.shape(configSize: 256) }
    for (width, ones) in [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFF_FFFF)] as [(Int, UInt32)] {
      for offset in stride(from: 0x100, to: 0x1000, by: width) {
        #expect(try rig.function.readConfig(offset, width: width) == ones)
        try rig.function.writeConfig(offset, width: width, 0)
      }
    }
    #expect(rig.seen.warnings == [])
  }

  @Test("traps a BAR that cannot be mapped, with one warning")
  func unmappable() throws {
    let world = FakeWorld()
    world.fail("mapBAR", with: 16)
    let rig = try FunctionRig(FunctionRig.Options(), world: world)
    #expect(rig.seen.warnings == ["BAR 0 stays trapped: fake mapBAR: errno 16"])
    try rig.command(2)
    try rig.write(8, 0x1234_5678)
    #expect(try rig.read(8) == 0x1234_5678)
    #expect(rig.function.statistics.windows == 0)
    try rig.touch(8)
    #expect(rig.slots == [])
  }

  @Test("a vCPU that waits for pinned RAM holds no lock, and stops waiting when the device is isolated")
  func waitsWithoutLock() async throws {
    let rig = try FunctionRig { $0.isPinned = false }
    let function = rig.function
    let waiting = Task.detached { try function.writeConfig(ConfigOffset.command, width: 2, 6) }
    // Other accesses are answered during the wait.
    for _ in 0..<100 { #expect(try function.readConfig(0, width: 4) == 0x1111_2222) }
    #expect(try function.readConfig(ConfigOffset.command, width: 2) == 0, "bus mastering waits")
    try function.writeConfig(ConfigOffset.command, width: 2, 2)
    #expect(try function.readConfig(ConfigOffset.command, width: 2) == 2, "the memory bit does not wait")
    try function.isolate(OperationError("gone", errno: KernelError.io))
    try await waiting.value
    #expect(try function.readConfig(0, width: 4) == .max)
  }

  @Test("a vCPU that waits for pinned RAM stops waiting when the VM ends, and its write is dropped")
  func stopsWaiting() async throws {
    let rig = try FunctionRig { $0.isPinned = false }
    let function = rig.function
    let waiting = Task.detached { try function.writeConfig(ConfigOffset.command, width: 4, 6) }
    function.stopWaiting()
    try await waiting.value
    #expect(try function.readConfig(ConfigOffset.command, width: 2) == 0)
  }

  @Test(
    "a write that sets Bus Master Enable takes effect when RAM is pinned",
    arguments: [(4, 1, 4), (4, 2, 4), (4, 4, 4)] as [(Int, Int, UInt32)])
  func pinned(_ offset: Int, _ width: Int, _ value: UInt32) async throws {
    let rig = try FunctionRig { $0.isPinned = false }
    let function = rig.function
    let waiting = Task.detached { try function.writeConfig(offset, width: width, value) }
    #expect(try function.readConfig(ConfigOffset.command, width: 2) == 0)
    rig.dma.finishPinning(nil)
    try await waiting.value
    #expect(try function.readConfig(ConfigOffset.command, width: 2) == 4)
    #expect(rig.device.command == 4)
  }

  @Test("no device becomes a bus master if only a part of RAM was pinned when the VM ended")
  func partlyPinned() throws {
    let rig = try FunctionRig { $0.isPinned = false }
    rig.dma.finishPinning(nil, isComplete: false)
    try rig.command(4)
    #expect(try rig.function.readConfig(ConfigOffset.command, width: 2) == 0)
  }

  @Test("a failure to pin RAM ends the VM with the device and the cause")
  func notPinned() throws {
    let rig = try FunctionRig { $0.isPinned = false }
    rig.dma.finishPinning(OperationError("guest RAM cannot be pinned", errno: KernelError.noMemory))
    let error = #expect(throws: FunctionError.self) { try rig.command(4) }
    #expect(error?.description == "device 0000:00:05.0: guest RAM cannot be pinned")
  }
}
