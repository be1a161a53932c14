// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

@Suite struct WindowCutsTests {
  @Test("only the pages of the MSI-X table and PBA are cut out")
  func cutOut() {
    #expect(
      WindowCuts.areas([0..<0x8000], without: [0x2000..<0x2410, 0x3000..<0x3008])
        == [0..<0x2000, 0x4000..<0x8000])
    #expect(WindowCuts.areas([0..<0x4000], without: [0..<0x10]) == [0x1000..<0x4000])
    #expect(WindowCuts.areas([0..<0x4000], without: [0x3FF0..<0x4000]) == [0..<0x3000])
    #expect(WindowCuts.areas([0..<0x1000], without: [0x800..<0x900]) == [])
  }

  @Test("a table that crosses a page boundary cuts out both pages")
  func crossing() {
    #expect(
      WindowCuts.areas([0..<0x5000], without: [0x1FF0..<0x2010]) == [0..<0x1000, 0x3000..<0x5000])
  }

  @Test("an area without a whole page has no window, and unaligned ends are left out")
  func unaligned() {
    #expect(WindowCuts.areas([0..<0x800], without: []) == [])
    #expect(WindowCuts.areas([0x800..<0x1800], without: []) == [])
    #expect(WindowCuts.areas([0x800..<0x3800], without: []) == [0x1000..<0x3000])
  }

  @Test("a mappable BAR smaller than a page has one page, unless it holds an MSI-X structure")
  func small() {
    for size in [16, 256, 1024, 2048] as [UInt64] {
      #expect(WindowCuts.areas([0..<size], barSize: size, without: []) == [0..<0x1000])
      #expect(WindowCuts.areas([], barSize: size, without: []) == [])
      #expect(WindowCuts.areas([0..<size], barSize: size, without: [0..<16]) == [])
    }
    #expect(WindowCuts.areas([0..<0x800], barSize: 0x1000, without: []) == [])
    #expect(WindowCuts.areas([0..<0x2000], barSize: 0x2000, without: []) == [0..<0x2000])
    #expect(WindowCuts.pieces(of: 0..<0x1000, barSize: 256).count == 1)
  }

  @Test("sparse areas stay separate, and a table between them cuts neither")
  func sparse() {
    #expect(
      WindowCuts.areas([0..<0x2000, 0x3000..<0x6000], without: [0x2000..<0x2040])
        == [0..<0x2000, 0x3000..<0x6000])
    #expect(WindowCuts.areas([], without: [0..<16]) == [])
  }

  private static let sizes: [UInt64] = [
    4096, 12 << 10, 2 << 20, 6 << 20, 16 << 20, 256 << 20, 1 << 30, 3 << 30, 64 << 30, 1 << 40,
  ]

  @Test("pieces cover an area without gap or overlap", arguments: sizes)
  func cover(_ size: UInt64) {
    let areas: [Range<UInt64>] = [0..<size, min(0x3000, size)..<size, 0..<size - 4096]
    for area in areas where !area.isEmpty {
      let pieces = WindowCuts.pieces(of: area, barSize: size)
      #expect(pieces.first?.lowerBound == area.lowerBound)
      #expect(pieces.last?.upperBound == area.upperBound)
      #expect(zip(pieces, pieces.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(pieces.allSatisfy { !$0.isEmpty && $0.lowerBound % 4096 == 0 })
    }
  }

  @Test("every BAR has at most 256 windows, and a small BAR has one", arguments: sizes)
  func count(_ size: UInt64) {
    let count = WindowCuts.pieces(of: 0..<size, barSize: size).count
    #expect(count <= 256)
    if size <= 2 << 20 { #expect(count == 1) }
    // A large BAR is not one window either.
    if size >= 256 << 20 { #expect(count >= 64) }
  }

  @Test("cuts are at multiples of a huge page, so that no window splits a huge page")
  func cuts() {
    let pieces = WindowCuts.pieces(of: 0x3000..<5 << 20, barSize: 8 << 20)
    let expected: [Range<UInt64>] = [0x3000..<0x20_0000, 0x20_0000..<0x40_0000, 0x40_0000..<0x50_0000]
    #expect(pieces == expected)
    let step: UInt64 = 512 << 20
    for piece in WindowCuts.pieces(of: 0..<64 << 30, barSize: 64 << 30) {
      #expect(piece.lowerBound % step == 0)
      #expect(piece.upperBound - piece.lowerBound == step)
    }
  }
}
