// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing

@testable import Gate
@testable import Passthrough

/// Tests of accesses to BARs, and of the windows that they open and close.
@Suite struct MemoryPathTests {
  private static let command = UInt64(ConfigOffset.command)

  @Test("reads all-ones, drops writes and calls no device while memory is off")
  func closed() throws {
    let rig = try FunctionRig()
    _ = rig.world.takeCalls()
    #expect(try rig.read(0x10) == .max)
    try rig.write(0x10, 1)
    try rig.function.openDueWindows()
    #expect(rig.world.takeCalls() == [])
    #expect(rig.function.statistics.deniedAccesses == 2 && rig.function.statistics.trappedAccesses == 2)
  }

  @Test("the device answers the first access, and the memory slot is added between two instructions")
  func firstTouch() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(2)
    _ = rig.world.takeCalls()
    try rig.write(FunctionRig.inFirst, 0xABCD)
    #expect(rig.slots == [], "KVM may be inside the instruction")
    #expect(rig.context.openings.isWanted)
    try rig.function.openDueWindows()
    #expect(rig.slots == [FunctionRig.base])
    #expect(rig.mapped(in: 0) == [FunctionRig.base])
    #expect(
      rig.world.takeCalls().map(\.name) == ["write", "addSlot", "map"], "the memory slot precedes the IOVA")
    #expect(try rig.read(FunctionRig.inFirst) == 0xABCD)
    let statistics = rig.function.statistics
    #expect(statistics.windowsOpened == 1 && statistics.bytesMapped == 4096 && statistics.slotsAdded == 1)
  }

  @Test("a window without a memory slot stays trapped, with one warning, until another window closes")
  func noSlot() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail("addSlot", with: 12)
    for _ in 0..<3 { try rig.touch(FunctionRig.inFirst) }
    #expect(rig.world.takeCalls().count { $0.name == "addSlot" } == 1)
    #expect(rig.seen.warnings.count == 1 && rig.seen.warnings[0].hasPrefix("BAR 0 window 0 stays trapped"))
    rig.world.succeed()
    try rig.touch(FunctionRig.inSecond)
    #expect(rig.slots.count == 1)
    try rig.command(0)
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [FunctionRig.base])
  }

  @Test("a window without an IOVA is mapped for the guest only, and the warning names the peers")
  func noIOVA() throws {
    let rig = try FunctionRig { options in
      options.peers = [.mapped(.onFault)]
      options.ranges = [0...0x7FFF_FFFF]
    }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1 && rig.mapped(in: 0) == [])
    #expect(
      rig.seen.warnings == [
        "0000:00:06.0 cannot reach BAR 0 at 0xd0000000-0xd0000fff: the IOMMU translates only 0x0-0x7fffffff"
      ])
  }

  @Test("does not map a window over guest RAM for peers")
  func overRAM() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.eager)] }
    try rig.command(2)
    try rig.move(0)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.mapped(in: 0) == [])
    #expect(rig.seen.warnings.last?.contains("guest RAM is at 0x0-0xfffff") == true)
  }

  @Test("an access that the device refuses reads all-ones and counts as denied")
  func denied() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    rig.world.fail { _, call in
      switch call {
      case .read(0, _), .write(0, _, _): 5
      default: nil
      }
    }
    #expect(try rig.read(FunctionRig.inFirst) == .max)
    try rig.write(FunctionRig.inFirst, 1)
    #expect(rig.function.statistics.deniedAccesses == 2)
    #expect(!rig.context.openings.isWanted)
  }

  @Test("removes every memory slot, then every IOVA, before the memory bit is cleared")
  func memoryOff() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault), .mapped(.eager)] }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    try rig.touch(FunctionRig.inSecond)
    #expect(rig.slots.count == 2)
    _ = rig.world.takeCalls()
    try rig.command(0)
    let calls = rig.world.takeCalls()
    #expect(
      calls.map(\.name) == ["removeSlot", "removeSlot", "unmap", "unmap", "unmap", "unmap", "write"])
    #expect(calls.last == .write(region: RegionIndex.config, offset: Self.command, 0))
    #expect(rig.slots == [] && rig.mapped(in: 0) == [] && rig.mapped(in: 1) == [])
    #expect(rig.world.violations == [])
    #expect(rig.context.generation.current == 1)
    #expect(rig.function.statistics.closes == 2)
  }

  @Test("the windows of a device that does not keep the memory bit stay closed")
  func stuck() throws {
    let rig = try FunctionRig { $0.policies.barMap = .eager }
    rig.device.state.withLock { $0.stuckCommand = 2 }
    try rig.command(2)
    try rig.function.openDueWindows()
    #expect(rig.slots == [])
    #expect(try rig.read(0x10) == .max)
  }

  @Test("with memory-bit=shadow the device's bit stays on, and the guest's bit controls the gate")
  func shadow() throws {
    let rig = try FunctionRig { $0.policies.memoryBit = .shadow }
    #expect(rig.device.command == 2)
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.count == 1)
    try rig.command(0)
    #expect(rig.device.command == 2 && rig.slots == [])
    #expect(try rig.read(0x10) == .max)
  }

  @Test("a move unmaps the windows of a BAR, and they open at the new address")
  func move() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    try rig.move(0xE000_0000)
    #expect(rig.slots == [] && rig.mapped(in: 0) == [])
    #expect(rig.context.decoder.find(0xD000_0010, isPort: false) == nil)
    #expect(
      rig.context.decoder.find(0xE000_0010, isPort: false) == BARLocation(function: 8, bar: 0, offset: 0x10))
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots == [0xE000_0000] && rig.mapped(in: 0) == [0xE000_0000])
  }

  @Test(
    "a fault of KVM_RUN demotes the windows of a device whose memory is off, and of any device on request")
  func fault() throws {
    let rig = try FunctionRig()
    try rig.command(2)
    #expect(try !rig.function.demote(.repeatedFault), "nothing is mapped")
    try rig.touch(FunctionRig.inFirst)
    #expect(try !rig.function.demote(.memoryOff), "the device's memory bit is set")
    rig.device.state.withLock { $0.config[ConfigOffset.command] = 0 }
    #expect(try rig.function.demote(.memoryOff))
    #expect(rig.slots == [])
    rig.device.state.withLock { $0.config[ConfigOffset.command] = 2 }
    try rig.touch(FunctionRig.inFirst)
    #expect(try !rig.function.demote(.revocable) && rig.function.isMapped, "no dma-buf")
    #expect(try rig.function.demote(.repeatedFault) && rig.slots == [] && !rig.function.isMapped)
  }

  @Test("an instruction that KVM cannot emulate makes its window due, or all armed windows")
  func notEmulated() throws {
    let rig = try FunctionRig()
    let location = BARLocation(function: 8, bar: 0, offset: FunctionRig.inFirst)
    #expect(try rig.function.makeDue(location) == .none, "memory is off")
    try rig.command(2)
    #expect(try rig.function.makeDue(BARLocation(function: 8, bar: 0, offset: 0x1000)) == .none)
    #expect(try rig.function.makeDue(location) == .isDue)
    try rig.function.openDueWindows()
    #expect(try rig.function.makeDue(location) == .isOpen)
    #expect(try rig.function.makeDue(nil) == .isDue, "the second window")
    try rig.function.openDueWindows()
    #expect(try rig.function.makeDue(nil) == .isOpen)
    #expect(rig.slots.count == 2)
  }

  @Test("I/O BARs answer while the I/O bit is on and the device answers")
  func ports() throws {
    let rig = try FunctionRig { options in
      options.shape.bars[1] = 16
      options.shape.ports = [1]
      options.shape.config[ConfigOffset.bar0 + 4] = 1
    }
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 4) == .max)
    rig.function.writePort(bar: 1, offset: 4, width: 4, 1)
    try rig.command(1)
    rig.function.writePort(bar: 1, offset: 4, width: 4, 0x55)
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 4) == 0x55)
    #expect(rig.context.decoder.find(0xC004, isPort: true)?.bar == 1)
    rig.world.fail { _, call in
      switch call {
      case .read(1, _), .write(1, _, _): 5
      default: nil
      }
    }
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 4) == .max)
    rig.function.writePort(bar: 1, offset: 4, width: 4, 1)
    #expect(rig.function.statistics.deniedAccesses == 4)
  }

  @Test("a window that shares a page with another BAR is not mapped, and is demoted if it was mapped")
  func sharedPages() throws {
    let rig = try FunctionRig { options in
      options.shape.bars[2] = 0x1000
      options.policies.barMap = .eager
    }
    try rig.command(2)
    try rig.function.openDueWindows()
    #expect(rig.slots == [FunctionRig.base, FunctionRig.base + 0x3000, FunctionRig.base + 2 << 20])
    try rig.function.writeConfig(ConfigOffset.bar0 + 8, width: 4, UInt32(FunctionRig.base))
    try rig.function.demoteSharedPages()
    try rig.function.openDueWindows()
    #expect(!rig.slots.contains(FunctionRig.base))
    try rig.touch(FunctionRig.inFirst)
    #expect(!rig.slots.contains(FunctionRig.base), "two BARs share the page")
    try rig.function.writeConfig(ConfigOffset.bar0 + 8, width: 4, 0xD020_0000)
    try rig.touch(FunctionRig.inFirst)
    #expect(rig.slots.contains(FunctionRig.base))
  }
}
