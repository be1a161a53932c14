// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct BARPlacementTests {
  private static let bridge = BARAllocator(
    io: 0xC000..<0x1_0000, memory32: 0xC000_0000..<0xE000_0000, memory64: 1 << 32..<1 << 39)
  private static let small = PortWindow(memory32: 1 << 20, memory64: 1 << 30)

  private static func bar(_ size: UInt64, _ kind: BAR.Kind = .memory32, prefetchable: Bool = false) -> BAR {
    BAR(index: 0, kind: kind, isPrefetchable: prefetchable, size: size)
  }

  @Test("every BAR behind a port is in the window of its kind, and an I/O BAR gets no address")
  func behindPort() throws {
    let bars = [
      Self.bar(0x4000), Self.bar(32, .io), Self.bar(16 << 30, .memory64, prefetchable: true),
      Self.bar(64 << 20, .memory64), Self.bar(0x1_0000, .rom),
    ]
    let placed = try BARPlacement(
      [.init([Self.bar(0x1000)], port: nil), .init(bars, port: 1)], ports: [Self.small, Self.small],
      in: Self.bridge)
    let (window, addresses) = (placed.windows[1], placed.addresses[1])
    #expect(window.memory32.count == 128 << 20 && window.memory64.count == 16 << 30)
    #expect(window.memory32.contains(addresses[0]) && window.memory32.contains(addresses[3]))
    #expect(window.memory32.contains(addresses[4]) && addresses[1] == 0)
    #expect(window.memory64.contains(addresses[2]))
    for (bar, address) in zip(bars, addresses) { #expect(address % bar.size == 0) }
    let low = [0, 3, 4].map { addresses[$0]..<addresses[$0] + bars[$0].size }
    #expect(!low[0].overlaps(low[1]) && !low[0].overlaps(low[2]) && !low[1].overlaps(low[2]))
    let other = placed.windows[0]
    #expect(other.memory32.count == 1 << 20 && other.memory64.count == 1 << 30)
    #expect(!other.memory32.overlaps(window.memory32) && !other.memory64.overlaps(window.memory64))
    #expect(!window.memory32.contains(placed.addresses[0][0]))
    #expect(!other.memory32.contains(placed.addresses[0][0]))
  }

  @Test("31 ports with the standard windows below 4 GiB fit", arguments: [0, 1, 31])
  func many(_ count: Int) throws {
    let size = PortWindow(memory32: PortWindow.standard.memory32, memory64: 8 << 30)
    let placed = try BARPlacement([], ports: Array(repeating: size, count: count), in: Self.bridge)
    #expect(placed.windows.count == count)
    let all = placed.windows.flatMap { [$0.memory32, $0.memory64] }.sorted { $0.lowerBound < $1.lowerBound }
    for (one, next) in zip(all, all.dropFirst()) { #expect(one.upperBound <= next.lowerBound) }
  }

  @Test("a window or a BAR that does not fit is named")
  func noRoom() {
    #expect(throws: BARPlacement.NoRoom.window(port: 0, size: 1 << 40)) {
      try BARPlacement([], ports: [PortWindow(memory32: 1 << 20, memory64: 1 << 40)], in: Self.bridge)
    }
    #expect(throws: BARPlacement.NoRoom.bar(function: 1, position: 0)) {
      try BARPlacement(
        [.init([], port: nil), .init([Self.bar(1 << 30)], port: nil)], ports: [Self.small], in: Self.bridge)
    }
  }

  @Test("the sizes of windows are powers of two that hold all BARs")
  func sizes() {
    #expect(PortWindow(for: []) == PortWindow(memory32: 0, memory64: 0))
    #expect(PortWindow(for: [Self.bar(16)]) == PortWindow(memory32: 1 << 20, memory64: 0))
    let two = [Self.bar(1 << 20), Self.bar(16), Self.bar(4096, .memory64, prefetchable: true)]
    #expect(PortWindow(for: two) == PortWindow(memory32: 2 << 20, memory64: 1 << 20))
    #expect(PortWindow(for: [Self.bar(256, .io)]) == PortWindow(memory32: 0, memory64: 0))
  }
}
