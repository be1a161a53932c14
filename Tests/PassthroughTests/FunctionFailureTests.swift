// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Tests in which each call through a seam fails once, or every call fails from that one on.
@Suite struct FunctionFailureTests {
  /// Drives a function through every path.
  private static func drive(_ rig: FunctionRig) throws {
    try rig.function.resetAtStart {}
    try rig.command(7)
    try rig.touch(FunctionRig.inFirst)
    try rig.touch(FunctionRig.inSecond)
    try rig.setMSI(true, count: 2)
    try rig.maskMSI(1)
    try rig.maskMSI(0)
    try rig.setMSI(false)
    try rig.setMSIX(true)
    for vector in 0..<3 as Range<UInt64> {
      try rig.setMessage(vector, 0x30 + vector)
      try rig.maskMSIX(vector, false)
    }
    try rig.setMessage(1, 0x50)
    try rig.maskMSIX(1, true)
    _ = try rig.read(0x2000, width: 8)
    try rig.move(0xE000_0000)
    try rig.touch(FunctionRig.inFirst)
    try rig.reset()
    try rig.touch(FunctionRig.inFirst)
    _ = try rig.function.demote(.repeatedFault)
    try rig.touch(FunctionRig.inFirst)
    try rig.setPower(3)
    try rig.setPower(0)
    try rig.touch(FunctionRig.inFirst)
    try rig.command(0)
    try rig.command(6)
    try rig.touch(FunctionRig.inSecond)
  }

  /// Performs an action. Returns false if it has ended the VM with an error. The error must name the device.
  private static func isAlive(_ rig: FunctionRig, _ body: () throws -> Void) throws -> Bool {
    do {
      try body()
      return true
    } catch let error as FunctionError {
      #expect(error.device == rig.device.address)
      #expect(error.cause.description.contains("fake"))
      return false
    }
  }

  private static func options(_ policy: MappingPolicy, dmaBuffers: Bool = false) -> FunctionRig.Options {
    var options = FunctionRig.Options()
    options.needsDMABuffers = dmaBuffers
    options.policies.barMap = policy
    options.peers = [.mapped(policy), .mapped(.eager)]
    return options
  }

  private static func count(_ policy: MappingPolicy, dmaBuffers: Bool) throws -> Int {
    let rig = try FunctionRig(options(policy, dmaBuffers: dmaBuffers), world: FakeWorld())
    try drive(rig)
    try rig.function.quiesce()
    try rig.function.resetAndRelease()
    #expect(rig.world.violations == [] && rig.seen.warnings == [])
    return rig.world.takeCalls().count
  }

  @Test(
    "no failure of one call violates a rule or ends the VM", arguments: MappingPolicy.allCases, [false, true])
  func once(_ policy: MappingPolicy, dmaBuffers: Bool) throws {
    let count = try Self.count(policy, dmaBuffers: dmaBuffers)
    #expect(count > 100)
    for number in 0..<count {
      for errno in [5, 12] as [Int32] {
        let world = FakeWorld()
        world.fail { index, _ in index == number ? errno : nil }
        let rig: FunctionRig
        do {
          rig = try FunctionRig(Self.options(policy, dmaBuffers: dmaBuffers), world: world)
        } catch is FunctionError {
          // The VM does not start. Nothing has been mapped.
          #expect(world.state.withLock { $0.slots.isEmpty && $0.violations.isEmpty })
          continue
        } catch is OperationError { continue }
        let isReset = world.state.withLock { $0.calls.count } == number && rig.device.hasReset
        let lived = try Self.isAlive(rig) { try Self.drive(rig) }
        #expect(lived || isReset, "call \(number) fails: \(world.state.withLock { $0.calls[number] })")
        _ = try Self.isAlive(rig) { try rig.function.quiesce() }
        _ = try Self.isAlive(rig) { try rig.function.resetAndRelease() }
        #expect(world.violations == [], "call \(number) fails")
        #expect(rig.slots == [], "call \(number) fails")
        #expect(rig.seen.warnings.count <= 3, "call \(number) fails: \(rig.seen.warnings)")
      }
    }
  }

  @Test(
    "no rule is violated if every call fails from some call on: the device is not written while it is mapped",
    arguments: MappingPolicy.allCases, [false, true])
  func forGood(_ policy: MappingPolicy, dmaBuffers: Bool) throws {
    let count = try Self.count(policy, dmaBuffers: dmaBuffers)
    for number in 0..<count {
      let world = FakeWorld()
      world.fail { index, _ in index >= number ? 5 : nil }
      // A function whose creation fails has no mapping.
      guard let rig = try? FunctionRig(Self.options(policy, dmaBuffers: dmaBuffers), world: world) else {
        continue
      }
      _ = try Self.isAlive(rig) { try Self.drive(rig) }
      _ = try Self.isAlive(rig) { try rig.function.quiesce() }
      _ = try Self.isAlive(rig) { try rig.function.resetAndRelease() }
      #expect(world.violations == [], "from call \(number) on")
    }
  }

  @Test("a kind of call that always fails leaves the function usable by the guest as far as possible")
  func kinds() throws {
    let rig = try FunctionRig(Self.options(.onFault), world: FakeWorld())
    try Self.drive(rig)
    let names = Set(rig.world.takeCalls().map(\.name))
    #expect(names.count >= 15)
    for name in names.sorted() {
      let world = FakeWorld()
      guard let rig = try? FunctionRig(Self.options(.onFault), world: world) else { continue }
      world.fail(name)
      // The VM ends if a memory slot or an IOVA cannot be removed, or if the reset at the start fails.
      let mayEnd = ["removeSlot", "unmap", "reset"].contains(name)
      #expect(try Self.isAlive(rig) { try Self.drive(rig) } || mayEnd, "\(name)")
      #expect(world.violations == [], "\(name)")
      #expect(rig.seen.warnings.count == Set(rig.seen.warnings).count, "\(name): \(rig.seen.warnings)")
    }
  }
}
