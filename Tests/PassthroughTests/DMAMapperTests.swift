// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import GuestMemory
@testable import Passthrough

@Suite struct DMAMapperTests {
  private static let regions = [
    GuestMemory.Region(base: GuestAddress(0), size: 0xC000_0000, hostAddress: 0),
    GuestMemory.Region(base: GuestAddress(1 << 32), size: 1 << 30, hostAddress: 0),
  ]

  @Test(
    "a window over guest RAM is found, pinned or not, wherever it begins and ends",
    arguments: [
      (0, 4096, true), (0xBFFF_F000, 4096, true), (0xC000_0000, 4096, false), (0xC000_0000, 1 << 30, false),
      (0xC000_0000, (1 << 30) + 1, true), (0xBFFF_F000, 1 << 40, true), (1 << 32, 4096, true),
      (5 << 30, 1 << 30, false), (0, .max, true), (1 << 63, 1 << 63, false), (.max - 4095, 4096, false),
      ((1 << 32) + (1 << 30) - 1, 1, true),
    ] as [(UInt64, UInt64, Bool)])
  func overlap(_ base: UInt64, _ size: UInt64, _ expected: Bool) {
    #expect((DMARange.overlap(base, size, Self.regions) != nil) == expected)
  }

  @Test(
    "an IOMMU translates a range up to 2^64 - 1, and nothing that wraps",
    arguments: [
      (UInt64.max - 4095, 4096, true), (.max - 4095, 4097, false), (.max - 4095, 8192, false),
      (1 << 63, 1 << 63, true), (1 << 63, .max, false), (0x1000, 0x1000, false), (0, .max, false),
      (1 << 40, 0, false),
    ] as [(UInt64, UInt64, Bool)])
  func translatable(_ start: UInt64, _ size: UInt64, _ expected: Bool) {
    #expect(DMARange.isTranslatable(start, size, [0x10_0000...UInt64.max]) == expected)
  }

  @Test("an IOMMU that names no ranges translates all that does not wrap")
  func unlimited() {
    #expect(DMARange.isTranslatable(.max - 4095, 4096, []))
    #expect(!DMARange.isTranslatable(.max - 4095, 4097, []))
  }

  @Test(
    "guest RAM takes at most about a thousand mappings, and a quarter of few",
    arguments: [
      (512 << 20, 65535, 128 << 20), (64 << 30, 65535, 128 << 20), (128 << 30, 65535, 128 << 20),
      (129 << 30, 65535, 256 << 20), (2 << 40, 65535, 2 << 30), (512 << 20, 4, 512 << 20),
      (64 << 30, 64, 4 << 30), (1 << 30, 0, 1 << 30),
    ] as [(UInt64, Int, UInt64)])
  func ram(_ memory: UInt64, _ mappings: Int, _ size: UInt64) {
    #expect(DMARange.pieceSize(memory: memory, mappings: mappings) == size)
  }
}
