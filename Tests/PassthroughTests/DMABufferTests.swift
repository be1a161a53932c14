// SPDX-License-Identifier: Apache-2.0

import Fakes
import Gate
import Seams
import Synchronization
import Testing

@testable import Passthrough

/// Tests of windows that I/O address spaces map by dma-buf.
@Suite struct DMABufferTests {
  private static let inFirst = FunctionRig.inFirst

  private func rig(_ peers: [PeerPolicy] = [.mapped(.onFault)]) throws -> FunctionRig {
    let rig = try FunctionRig {
      $0.peers = peers
      $0.needsDMABuffers = true
    }
    try rig.command(6)
    return rig
  }

  /// Returns the IOVAs of a space that a device can reach.
  private func reachable(_ rig: FunctionRig, in space: Int = 0) -> [UInt64] {
    rig.world.state.withLock { $0.spaces[space].values.filter { !$0.isRevoked }.map(\.base).sorted() }
  }

  @Test("exports the range of a window in its BAR, and maps it after each opening without a warning")
  func openings() throws {
    let rig = try rig()
    for _ in 0..<3 {
      _ = rig.world.takeCalls()
      try rig.touch(FunctionRig.inSecond)
      let order = ["addSlot", "dmaBuffer", "map"]
      let calls = rig.world.takeCalls().filter { order.contains($0.name) }
      #expect(calls.map(\.name) == order && calls[1] == .dmaBuffer(0, 0x3000, 0x5000))
      #expect(reachable(rig) == [FunctionRig.base + 0x3000])
      try rig.command(0)
      #expect(rig.mapped(in: 0) == [])
      try rig.command(6)
    }
    #expect(rig.seen.warnings == [] && rig.world.violations == [])
  }

  @Test("a fault with memory on demotes windows whose dma-bufs the kernel may have revoked")
  func fault() throws {
    let rig = try rig()
    try rig.touch(Self.inFirst)
    #expect(try !rig.function.demote(.memoryOff) && rig.function.isMapped)
    #expect(try rig.function.demote(.revocable))
    #expect(rig.slots == [] && rig.mapped(in: 0) == [])
    try rig.touch(Self.inFirst)
    #expect(reachable(rig) == [FunctionRig.base])
    let unreachable = try self.rig([.off])
    try unreachable.touch(Self.inFirst)
    #expect(try !unreachable.function.demote(.revocable), "no device reaches its windows")
  }

  @Test("each space maps a separate mapping of the window")
  func spaces() throws {
    let rig = try rig([.mapped(.onFault), .off, .mapped(.onEnable)])
    #expect(reachable(rig, in: 2).count == 2, "on-enable maps both windows")
    try rig.touch(Self.inFirst)
    #expect(reachable(rig) == [FunctionRig.base] && reachable(rig, in: 1) == [])
    try rig.command(0)
    #expect((0..<3).allSatisfy { rig.mapped(in: $0) == [] })
    #expect(rig.world.violations == [])
  }

  @Test(
    "a mapping that the kernel has revoked reaches nothing, and the next opening maps the window again",
    arguments: [[.fault], [.memoryOff, .memoryOn], [.reset, .memoryOn], [.d3hot, .d0, .memoryOn]]
      as [[FunctionRig.Step]])
  func revoked(_ closing: [FunctionRig.Step]) throws {
    let rig = try rig()
    try rig.touch(Self.inFirst)
    rig.device.setMemoryOutside(false)
    #expect(reachable(rig) == [] && rig.mapped(in: 0) == [FunctionRig.base])
    rig.device.setMemoryOutside(true)
    #expect(reachable(rig) == [], "a revocation is final")
    for step in closing { try rig.take(step) }
    try rig.touch(Self.inFirst)
    #expect(reachable(rig) == [FunctionRig.base])
    #expect(rig.seen.warnings == [] && rig.world.violations == [])
  }

  @Test("a window that opens while the host has turned memory off has no IOVA until the next opening")
  func refused() throws {
    let rig = try rig()
    _ = try rig.read(Self.inFirst)
    rig.device.setMemoryOutside(false)
    try rig.function.openDueWindows()
    #expect(reachable(rig) == [])
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].contains("memory is off"))
    rig.device.setMemoryOutside(true)
    try rig.take(.memoryOff)
    try rig.take(.memoryOn)
    try rig.touch(Self.inFirst)
    #expect(reachable(rig) == [FunctionRig.base] && rig.seen.warnings.count == 1)
  }

  @Test("a window whose export fails is reachable only for the guest's CPUs, with one warning")
  func noExport() throws {
    let rig = try rig()
    rig.world.fail("dmaBuffer", with: 24)
    try rig.touch(Self.inFirst)
    try rig.touch(FunctionRig.inSecond)
    #expect(rig.slots.count == 2 && rig.mapped(in: 0) == [] && rig.seen.warnings.count == 1)
    rig.world.succeed()
    try rig.command(0)
    try rig.command(6)
    try rig.touch(Self.inFirst)
    #expect(reachable(rig) == [FunctionRig.base])
  }

  @Test("RAM is pinned in the first space, and the other spaces share the pins")
  func sharedPins() throws {
    let rig = try rig([.mapped(.onFault), .off])
    _ = rig.world.takeCalls()
    try rig.pinMemory()
    #expect(rig.world.takeCalls().map(\.name) == ["map", "share"])
  }
}
