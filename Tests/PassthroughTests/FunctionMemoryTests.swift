// SPDX-License-Identifier: Apache-2.0

import Fakes
import PCI
import Seams
import Synchronization
import Testing
import Trace

@testable import Gate
@testable import Passthrough

/// Tests of a function's BARs: the bytes that answer, the mappings and their retries.
@Suite struct FunctionMemoryTests {
  private typealias Call = FakeWorld.Call
  private static let large: UInt64 = 16 << 20

  private func ports() throws -> FunctionRig {
    try FunctionRig { options in
      options.shape.bars[1] = 16
      options.shape.ports = [1]
      options.shape.config[ConfigOffset.bar0 + 4] = 1
      options.shape.config[FunctionRig.power + 4] = 8  // No_Soft_Reset
    }
  }

  /// Creates a function whose BAR 2 has eight windows of 2 MiB.
  private func many(_ change: (inout FunctionRig.Options) -> Void = { _ in }) throws -> FunctionRig {
    let rig = try FunctionRig { options in
      options.shape.bars[2] = Self.large
      change(&options)
    }
    // The rig's address for BAR 2 is not aligned.
    try rig.function.writeConfig(ConfigOffset.bar0 + 8, width: 4, 0xE000_0000)
    return rig
  }

  /// Turns memory on and opens every window.
  private func openAll(_ rig: FunctionRig) throws {
    try rig.command(2)
    #expect(try rig.function.makeDue(nil) == .isDue)
    try rig.function.openDueWindows()
  }

  private func hosts(_ rig: FunctionRig) -> [UInt64: UInt64] {
    rig.world.state.withLock { state in
      Dictionary(uniqueKeysWithValues: state.slots.values.map { ($0.base, $0.host) })
    }
  }

  // MARK: Accesses

  @Test("reads the ROM up to its last byte in every width", arguments: [1, 2, 4, 8])
  func rom(_ width: Int) throws {
    let rig = try FunctionRig { $0.shape.rom = (0..<2048).map { UInt8(truncatingIfNeeded: $0) } }
    try rig.command(2)
    try rig.function.writeConfig(ConfigOffset.rom, width: 4, 0xDF00_0001)
    func read(_ offset: UInt64) throws -> UInt64 {
      try rig.function.readMemory(bar: BAR.romIndex, offset: offset, width: width)
    }
    let expected: UInt64 = 0xFFFE_FDFC_FBFA_F9F8 >> UInt64(64 - width * 8)
    #expect(try read(2048 - UInt64(width)) == expected)
    #expect(try read(2049 - UInt64(width)) == .max)
    #expect(try read(2048) == .max)
    #expect(rig.function.statistics.deniedAccesses == 2 && rig.function.statistics.trappedAccesses == 3)
  }

  @Test("I/O BARs answer in D0, until the function leaves the guest")
  func portStates() throws {
    let rig = try ports()
    func answers() -> Bool {
      rig.function.writePort(bar: 1, offset: 8, width: 2, 0x1234)
      return rig.function.readPort(bar: 1, offset: 8, width: 2) == 0x1234
    }
    try rig.command(1)
    #expect(answers())
    for step in [FunctionRig.Step.d3hot, .memoryOff] {
      try rig.take(step)
      _ = rig.world.takeCalls()
      #expect(!answers() && rig.world.takeCalls() == [], "\(step)")
      try rig.take(.d0)
      try rig.command(1)
      #expect(answers())
    }
    try rig.function.handle(.error)
    _ = rig.world.takeCalls()
    #expect(!answers() && rig.world.takeCalls() == [])
    #expect(rig.function.statistics.deniedAccesses == 6)
  }

  @Test("passes the guest's offset, width and value to the device for memory and I/O BARs")
  func values() throws {
    let rig = try ports()
    try rig.command(3)
    _ = rig.world.takeCalls()
    try rig.write(0x20, 0x8877_6655_4433_2211, width: 8)
    #expect(try rig.read(0x24) == 0x8877_6655 && rig.read(0x21, width: 2) == 0x3322)
    rig.function.writePort(bar: 1, offset: 4, width: 1, 0x7F)
    #expect(rig.function.readPort(bar: 1, offset: 4, width: 1) == 0x7F)
    #expect(
      rig.world.takeCalls() == [
        .write(region: 0, offset: 0x20, 0x8877_6655_4433_2211), .read(region: 0, offset: 0x24),
        .read(region: 0, offset: 0x21), .write(region: 1, offset: 4, 0x7F), .read(region: 1, offset: 4),
      ])
  }

  // MARK: Mappings

  @Test("maps the window's own bytes by memory slot and by IOVA")
  func bytes() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(2)
    for (offset, value) in [(FunctionRig.inFirst, 0x1111_1111), (FunctionRig.inSecond, 0x2222_2222)]
      as [(UInt64, UInt32)]
    {
      try rig.write(offset, UInt64(value))
      try rig.touch(offset)
      #expect(rig.world.load(iova: FunctionRig.base + offset) == value)
    }
    let peers = rig.world.state.withLock { state in
      Dictionary(uniqueKeysWithValues: state.spaces[0].values.map { ($0.base, $0.host) })
    }
    #expect(peers.count == 2 && hosts(rig) == peers)
  }

  @Test("maps adjoining windows by one IOVA mapping without a gap")
  func adjoining() throws {
    let rig = try many { $0.peers = [.mapped(.eager)] }
    try openAll(rig)
    #expect(rig.mapped(in: 0).count == 3, "two mappings of BAR 0 and one of BAR 2")
    let slots = rig.world.state.withLock { $0.slots.values.filter { $0.base >= 0xE000_0000 } }
    #expect(slots.reduce(0) { $0 + $1.size } == Self.large)
    #expect(rig.function.statistics.windowsOpened == 10)
    #expect(rig.function.statistics.bytesMapped == 0x1000 + 0x5000 + Self.large)
    let events = rig.seen.events.compactMap { event -> [UInt64]? in
      guard case .peer(.map, let span, 0) = event else { return nil }
      return [span.address, span.size, UInt64(span.windows)]
    }
    #expect(events.contains([0xE000_0000, Self.large, 8]))
    try rig.command(0)
    try rig.command(2)
    _ = try rig.function.readMemory(bar: 2, offset: 6 << 20, width: 4)
    try rig.function.openDueWindows()
    #expect(rig.slots == [0xE000_0000], "windows that were open together open together again")
    #expect(rig.function.statistics.windowsOpened == 10)
  }

  @Test("maps each window alone if windows cannot share a memory slot or an IOVA, without a warning")
  func apart() throws {
    let rig = try many { $0.peers = [.mapped(.eager)] }
    rig.world.fail { _, call in
      switch call {
      case .addSlot(_, let size), .map(_, let size): size > 2 << 20 ? 12 : nil
      default: nil
      }
    }
    try openAll(rig)
    #expect(rig.seen.warnings == [])
    #expect(rig.slots.count == 2 + 8 && rig.mapped(in: 0).count == 2 + 8)
    let hosts = hosts(rig)
    for index in 1..<8 as Range<UInt64> {
      #expect(hosts[0xE000_0000 + index << 21] == hosts[0xE000_0000].map { $0 + index << 21 })
    }
    try rig.command(0)
    try rig.command(2)
    _ = try rig.function.readMemory(bar: 2, offset: 6 << 20, width: 4)
    try rig.function.openDueWindows()
    #expect(rig.slots == [0xE060_0000] && rig.seen.warnings == [])
  }

  @Test("maps the other windows for peers if one window fails, and names that window")
  func oneMissing() throws {
    let rig = try many { $0.peers = [.mapped(.eager)] }
    rig.world.fail { _, call in
      guard case .map(let iova, let size) = call else { return nil }
      return iova <= 0xE060_0000 && 0xE060_0000 < iova + size ? 12 : nil
    }
    try rig.command(2)
    #expect(rig.mapped(in: 0).count == 2 + 7 && !rig.mapped(in: 0).contains(0xE060_0000))
    #expect(rig.seen.warnings.count == 1)
    #expect(
      rig.seen.warnings.first?.contains("cannot reach BAR 2 at 0xe0600000-0xe07fffff") == true)
  }

  @Test("reports each change of a window and of an IOVA with its address and size")
  func reported() throws {
    let rig = try FunctionRig { $0.peers = [.mapped(.onFault)] }
    try rig.command(2)
    try rig.touch(FunctionRig.inFirst)
    func changes() -> [[UInt64]] {
      defer { rig.seen.clear() }
      return rig.seen.events.compactMap { event in
        switch event {
        case .gate(let span, from: _, to: .open, _): [1, span.address, span.size]
        case .gate(let span, from: .open, to: _, _): [0, span.address, span.size]
        case .peer(let operation, let span, _): [operation == .map ? 3 : 2, span.address, span.size]
        default: nil
        }
      }
    }
    #expect(Set(changes()) == [[1, FunctionRig.base, 4096], [3, FunctionRig.base, 4096]])
    try rig.move(0xE000_0000)
    #expect(Set(changes()) == [[0, FunctionRig.base, 4096], [2, FunctionRig.base, 4096]])
    try rig.touch(FunctionRig.inFirst)
    #expect(Set(changes()) == [[1, 0xE000_0000, 4096], [3, 0xE000_0000, 4096]])
  }

  @Test("adds a memory slot when a window opens again, and counts the window once")
  func again() throws {
    let rig = try FunctionRig()
    for _ in 0..<3 {
      try rig.command(2)
      try rig.touch(FunctionRig.inFirst)
      try rig.command(0)
    }
    let statistics = rig.function.statistics
    #expect(statistics.slotsAdded == 3 && statistics.closes == 3)
    #expect(statistics.windowsOpened == 1 && statistics.bytesMapped == 4096)
  }
}
