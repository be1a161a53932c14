// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Tests of windows that are not mapped, and of the retries.
@Suite struct FunctionRefusalTests {
  @Test("a refused window requests a memory slot again after its memory was off or its BAR has moved")
  func refused() throws {
    for acts in [[.memoryOff, .memoryOn], [.moveToEnd, .moveAway]] as [[FunctionRig.Step]] {
      let rig = try FunctionRig()
      try rig.command(2)
      rig.world.fail("addSlot", with: 17)
      try rig.touch(FunctionRig.inFirst)
      rig.world.succeed()
      try rig.touch(FunctionRig.inFirst)
      #expect(rig.slots == [], "no window has closed since")
      #expect(try rig.function.makeDue(nil) == .isDue, "the second window")
      try rig.function.openDueWindows()
      for act in acts { try rig.take(act) }
      try rig.touch(FunctionRig.inFirst)
      #expect(rig.slots.contains(FunctionRig.base), "\(acts)")
    }
  }

  @Test("a refused window requests a memory slot again after its BAR has moved, even if no window has closed")
  func moved() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("addSlot", with: 17)
    try rig.touch(FunctionRig.inFirst)
    rig.world.succeed()
    try rig.move(0xE000_0000)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [0xE000_0000] && rig.context.generation.current == 0)
  }

  @Test("a refused window requests a memory slot again after memory was off, even if no window has closed")
  func turnedOff() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("addSlot", with: 17)
    try rig.touch(FunctionRig.inFirst)
    rig.world.succeed()
    try rig.command(0)
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base] && rig.context.generation.current == 0)
  }

  @Test("maps a BAR smaller than a page if it is page-aligned, and traps it otherwise")
  func smallerThanPage() throws {
    let rig = try FunctionRig { $0.shape.bars[2] = 0x100 }
    try rig.command(2)
    func open() throws -> Bool {
      rig.context.openings.take()
      _ = try rig.function.readMemory(bar: 2, offset: 0, width: 4)
      try rig.function.openDueWindows()
      return rig.slots != []
    }
    #expect(try open() && rig.slots == [FunctionRig.base + 2 << 20])
    try rig.function.writeConfig(ConfigOffset.bar0 + 8, width: 4, UInt32(FunctionRig.base + 2 << 20) + 0x100)
    #expect(try !open())
    #expect(!rig.context.openings.isWanted)
  }

  @Test("a window that shares a page with another BAR does not become due", arguments: [0, 0x1000, 0x6000])
  func notDue(_ offset: UInt64) throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.addNeighbour(at: offset)
    _ = try rig.read(FunctionRig.inFirst)
    #expect(rig.context.openings.isWanted == (offset != 0))
    try rig.function.openDueWindows()
    rig.context.openings.take()
    _ = try rig.read(FunctionRig.inSecond)
    #expect(rig.context.openings.isWanted == (offset != 0x6000))
    try rig.function.openDueWindows()
    #expect(rig.slots.count == (offset == 0x1000 ? 2 : 1))
  }

  @Test("a BAR that moves into any page of a window unmaps the window, for peers too")
  func demoted() throws {
    for peers in [[], [.mapped(.onEnable)]] as [[PeerPolicy]] {
      for offset in [0, 0x3000, 0x6000] as [UInt64] {
        let rig = try FunctionRig { options in
          options.peers = peers
          options.policies.barMap = peers.isEmpty ? .eager : .onFault
        }
        try rig.command(2)
        try rig.function.openDueWindows()
        func isMapped(_ base: UInt64) -> Bool {
          peers.isEmpty ? rig.slots.contains(base) : rig.mapped(in: 0).contains(base)
        }
        let base = FunctionRig.base + (offset == 0 ? 0 : 0x3000)
        #expect(isMapped(base))
        rig.addNeighbour(at: offset)
        try rig.function.demoteSharedPages()
        #expect(!isMapped(base), "\(offset)")
        #expect(rig.world.violations == [])
      }
    }
  }

  @Test("a BAR next to the windows of a function does not affect them")
  func beside() throws {
    let rig = try FunctionRig { $0.policies.barMap = .eager }
    try rig.command(2)
    try rig.function.openDueWindows()
    rig.addNeighbour(at: 0x8000)
    try rig.function.demoteSharedPages()
    #expect(rig.slots == [FunctionRig.base, FunctionRig.base + 0x3000])
  }
}
