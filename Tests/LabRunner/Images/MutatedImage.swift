// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A file for the image loader, before and after its mutation.
struct MutatedImage {
  var bytes: [UInt8]
  /// The size of the file. The part beyond ``bytes`` is a hole.
  var size: UInt64

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    size = UInt64(bytes.count)
  }

  /// A number in the file.
  struct Field {
    let offset: Int
    /// The width in bytes.
    let width: Int
  }

  /// Returns the little-endian number at an offset, or 0 if it is not entirely in ``bytes``.
  func number(_ offset: Int, _ width: Int) -> UInt64 {
    guard offset >= 0, offset <= bytes.count - width else { return 0 }
    return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
  }

  /// Replaces a number. A number that is not entirely in ``bytes`` is ignored.
  mutating func set(_ offset: Int, _ width: Int, _ value: UInt64) {
    guard offset >= 0, offset <= bytes.count - width else { return }
    for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
  }

  mutating func set(_ field: Field, _ value: UInt64) { set(field.offset, field.width, value) }

  /// The numbers that a loader may read.
  var fields: [Field] {
    if bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46]) { return Self.elf(self) + Self.multiboot(self) }
    if number(0x202, 4) == 0x5372_6448 { return Self.linux + Self.multiboot(self) }
    return Self.multiboot(self)
  }

  /// The fields of the setup header (Documentation/arch/x86/boot.rst).
  private static let linux: [Field] = [
    (0x1F1, 1), (0x1F4, 4), (0x1FE, 2), (0x201, 1), (0x202, 4), (0x206, 2), (0x211, 1), (0x214, 4),
    (0x22C, 4),
    (0x230, 4), (0x234, 1), (0x235, 1), (0x236, 2), (0x238, 4), (0x248, 4), (0x24C, 4), (0x258, 8),
    (0x260, 4),
    (0x264, 4),
  ].map { Field(offset: $0, width: $1) }

  /// Returns the fields of the ELF header, the first program headers, and the first words of each note
  /// segment (System V gABI).
  private static func elf(_ image: MutatedImage) -> [Field] {
    let isWide = image.number(4, 1) == 2
    let header: [(Int, Int)] =
      isWide
      ? [(4, 1), (5, 1), (16, 2), (18, 2), (24, 8), (32, 8), (54, 2), (56, 2)]
      : [(4, 1), (5, 1), (16, 2), (18, 2), (24, 4), (28, 4), (42, 2), (44, 2)]
    var fields = header
    let table = Int(truncatingIfNeeded: image.number(isWide ? 32 : 28, isWide ? 8 : 4) & 0xFFFF_FFFF)
    let count = Int(image.number(isWide ? 56 : 44, 2))
    let parts: [(Int, Int)] =
      isWide
      ? [(0, 4), (8, 8), (24, 8), (32, 8), (40, 8), (48, 8)]
      : [(0, 4), (4, 4), (12, 4), (16, 4), (20, 4), (28, 4)]
    for index in 0..<min(count, 6) {
      let base = table + index * (isWide ? 56 : 32)
      fields += parts.map { (base + $0.0, $0.1) }
      guard image.number(base, 4) == 4 else { continue }
      let note = Int(truncatingIfNeeded: image.number(base + (isWide ? 8 : 4), 4))
      fields += [(note, 4), (note + 4, 4), (note + 8, 4), (note + 12, 4), (note + 16, 4)]
    }
    return fields.map { Field(offset: $0.0, width: $0.1) }
  }

  /// The offset of the multiboot header, version 1, or nil.
  var multibootOffset: Int? {
    stride(from: 0, to: min(bytes.count, 8192) - 11, by: 4).first { number($0, 4) == 0x1BAD_B002 }
  }

  private static func multiboot(_ image: MutatedImage) -> [Field] {
    guard let start = image.multibootOffset else { return [] }
    return (0..<8).map { Field(offset: start + 4 * $0, width: 4) }
  }
}

/// Valid files, from which mutations start.
enum SyntheticImage {
  /// Returns a bzImage with a small payload.
  static func linux(sectors: Int, payload: Int) -> [UInt8] {
    let start = ((sectors == 0 ? 4 : sectors) + 1) * 512
    var image = MutatedImage([UInt8](repeating: 0, count: start + payload))
    for (offset, width, value) in [
      (0, 2, 0x5A4D), (0x1F1, 1, UInt64(sectors)), (0x1F4, 4, UInt64(payload / 16)), (0x1FE, 2, 0xAA55),
      (0x200, 2, 0x66EB), (0x202, 4, 0x5372_6448), (0x206, 2, 0x020F), (0x211, 1, 1), (0x22C, 4, 0x7FFF_FFFF),
      (0x230, 4, 0x20_0000), (0x234, 1, 1), (0x236, 2, 3), (0x238, 4, 2047), (0x258, 8, 0x100_0000),
      (0x260, 4, 0x80_0000),
    ] as [(Int, Int, UInt64)] { image.set(offset, width, value) }
    return image.bytes
  }

  /// Returns an ELF file with segments from 1 MiB. A 64-bit file also has the note of a PVH entry.
  static func elf(isWide: Bool, segments: Int, hasMultiboot: Bool) -> [UInt8] {
    let entrySize = isWide ? 56 : 32
    let count = segments + (isWide ? 1 : 0)
    let table = isWide ? 64 : 52
    let data = (table + count * entrySize + 15) / 16 * 16
    var image = MutatedImage([UInt8](repeating: 0, count: data + 64 + segments * 64))
    image.set(0, 4, 0x464C_457F)
    let word = isWide ? 8 : 4
    for (offset, width, value) in [
      (4, 1, isWide ? 2 : 1), (5, 1, 1), (16, 2, 2), (18, 2, isWide ? 62 : 3), (24, word, 0x10_0000),
      (isWide ? 32 : 28, word, UInt64(table)), (isWide ? 54 : 42, 2, UInt64(entrySize)),
      (isWide ? 56 : 44, 2, UInt64(count)),
    ] as [(Int, Int, UInt64)] { image.set(offset, width, value) }
    for index in 0..<segments {
      let base = table + index * entrySize
      image.set(base, 4, 1)
      image.set(base + (isWide ? 8 : 4), word, UInt64(data + 64 + index * 64))
      image.set(base + (isWide ? 24 : 12), word, 0x10_0000 + UInt64(index) * 0x1000)
      image.set(base + (isWide ? 32 : 16), word, 64)
      image.set(base + (isWide ? 40 : 20), word, 0x800)
    }
    if isWide {
      let base = table + segments * entrySize
      image.set(base, 4, 4)
      image.set(base + 8, 8, UInt64(data))
      image.set(base + 32, 8, 20)
      image.set(data, 8, 4 << 32 | 4)
      image.set(data + 8, 4, 18)
      image.set(data + 12, 4, 0x6E_6558)
      image.set(data + 16, 4, 0x10_0000)
    }
    if hasMultiboot {
      image.set(data + 32, 4, 0x1BAD_B002)
      image.set(data + 36, 4, 3)
      image.set(data + 40, 4, 0 &- (0x1BAD_B002 + 3))
    }
    return image.bytes
  }

  /// Returns a kernel for multiboot whose header has addresses.
  static func multiboot(offset: Int) -> [UInt8] {
    var image = MutatedImage([UInt8](repeating: 0x90, count: offset + 256))
    let base: UInt64 = 0x10_0000
    for (index, value) in [
      0x1BAD_B002, 1 << 16, 0 &- (0x1BAD_B002 + 1 << 16), base + UInt64(offset), base, 0, base + 0x2000,
      base + UInt64(offset) + 32,
    ].enumerated() as EnumeratedSequence<[UInt64]> { image.set(offset + 4 * index, 4, value) }
    return image.bytes
  }
}
