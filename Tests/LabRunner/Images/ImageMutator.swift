// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Mutated kernels, initrds and command lines. Each iteration depends only on the seed and its number.
struct ImageMutator {
  /// The input of one call of the image loader.
  struct Input {
    var kernel: File
    var initrd: File?
    var commandLine: String
    /// The size of guest RAM in bytes.
    var memory: UInt64
  }

  /// A file for the loader.
  enum File {
    case image(MutatedImage)
    /// One of ``Special``.
    case special(Special)
  }

  /// Paths that are not regular files.
  enum Special: String, CaseIterable {
    case directory, fifo, missing, loop, null, zero
  }

  /// Valid files to mutate.
  private let bases: [[UInt8]]
  /// Whole kernels of several MiB. They are slow to load.
  private let large: [[UInt8]]

  /// Sizes of guest RAM. The host allocates memory only for the loaded image.
  static let memories: [UInt64] = [
    4096, 64 << 10, 1 << 20, (1 << 20) + 4096, 2 << 20, 16 << 20, 64 << 20, 256 << 20, 3 << 30,
    (3 << 30) + (64 << 20),
  ]

  /// - Parameter files: The kernels and guests of the lab.
  init(_ files: [URL]) throws {
    var bases: [[UInt8]] = []
    var large: [[UInt8]] = []
    for file in files {
      let bytes = [UInt8](try Data(contentsOf: file))
      if bytes.count > 1 << 20 {
        large.append(bytes)
        bases.append(Self.cut(bytes))
      } else {
        bases.append(bytes)
      }
    }
    for sectors in [0, 1, 3, 39] { bases.append(SyntheticImage.linux(sectors: sectors, payload: 0x800)) }
    for segments in 0..<5 {
      for isWide in [false, true] {
        for hasMultiboot in [false, true] {
          bases.append(SyntheticImage.elf(isWide: isWide, segments: segments, hasMultiboot: hasMultiboot))
        }
      }
    }
    for offset in [0, 4, 4096, 8160] { bases.append(SyntheticImage.multiboot(offset: offset)) }
    self.bases = bases
    self.large = large
  }

  /// Returns the start of a bzImage, with the size of its payload corrected.
  private static func cut(_ bytes: [UInt8]) -> [UInt8] {
    var image = MutatedImage(Array(bytes.prefix(48 << 10)))
    let start = (Int(image.number(0x1F1, 1)) + 1) * 512
    image.set(0x1F4, 4, UInt64(image.bytes.count - start) / 16)
    return image.bytes
  }

  /// Returns the input of an iteration.
  func input(seed: UInt64, iteration: UInt64) -> Input {
    var random = SplitMix(state: seed &* 0xD134_2543_DE82_EF95 &+ iteration)
    random.state = random.next()
    let memory = Self.memories.randomElement(using: &random) ?? 64 << 20
    return Input(
      kernel: kernel(memory, &random), initrd: initrd(memory, &random),
      commandLine: commandLine(&random), memory: memory)
  }

  private func kernel(_ memory: UInt64, _ random: inout SplitMix) -> File {
    if chance(64, &random) { return .special(Special.allCases.randomElement(using: &random) ?? .null) }
    let isLarge = !large.isEmpty && chance(512, &random)
    var image = MutatedImage((isLarge ? large : bases).randomElement(using: &random) ?? [])
    if chance(50, &random) { image.bytes = noise(&random) }
    let fields = image.fields
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      guard let field = fields.randomElement(using: &random) else { break }
      image.set(field, value(field, image, memory, &random))
    }
    // With a wrong checksum, the loader ignores the whole header.
    if let start = image.multibootOffset, !chance(4, &random) {
      image.set(start + 8, 4, 0 &- (image.number(start, 4) &+ image.number(start + 4, 4)))
    }
    if chance(6, &random), !image.bytes.isEmpty {
      for _ in 0..<Int.random(in: 1...12, using: &random) {
        let offset = Int.random(in: 0..<min(image.bytes.count, 8192), using: &random)
        image.bytes[offset] = UInt8.random(in: 0...255, using: &random)
      }
    }
    image.size = UInt64(image.bytes.count)
    resize(&image, memory, &random)
    return .image(image)
  }

  /// Truncates the file, or adds a hole at its end.
  private func resize(_ image: inout MutatedImage, _ memory: UInt64, _ random: inout SplitMix) {
    if chance(6, &random) {
      let ends = [
        0, 1, 3, 4, 11, 12, 31, 51, 52, 63, 64, 0x1F1, 0x1FF, 0x200, 0x203, 0x206, 0x208, 0x263, 0x264, 0x28F,
        0x290,
        511, 512, 1024, 8191, 8192, 8195,
      ]
      let end =
        chance(2, &random)
        ? ends.randomElement(using: &random) ?? 0 : Int.random(in: 0...image.bytes.count, using: &random)
      image.bytes.removeSubrange(min(end, image.bytes.count)...)
      image.size = UInt64(image.bytes.count)
    }
    if chance(24, &random) { image.size = max(image.size, sparseSize(memory, &random)) }
  }

  /// Returns the size of a file with a hole. A size that fits into RAM does not take seconds to load.
  private func sparseSize(_ memory: UInt64, _ random: inout SplitMix) -> UInt64 {
    let isLarge = memory <= 256 << 20 && chance(2, &random)
    let shift = UInt64.random(in: isLarge ? 33...62 : 10...27, using: &random)
    return near(1 << shift, &random) & .max >> 1
  }

  private func initrd(_ memory: UInt64, _ random: inout SplitMix) -> File? {
    switch Int.random(in: 0..<16, using: &random) {
    case 0..<8: return nil
    case 8: return .special(Special.allCases.randomElement(using: &random) ?? .null)
    default:
      var image = MutatedImage([UInt8](repeating: 0x71, count: Int.random(in: 0...64, using: &random)))
      if chance(2, &random) { image.size = UInt64.random(in: 0...5000, using: &random) }
      // The loader reads a large hole as zeros, which takes time.
      if chance(64, &random) { image.size = near(memory, &random) & 0x3FF_FFFF }
      if chance(16, &random) { image.size = sparseSize(memory, &random) }
      image.size = max(image.size, UInt64(image.bytes.count))
      return .image(image)
    }
  }

  private func commandLine(_ random: inout SplitMix) -> String {
    switch Int.random(in: 0..<8, using: &random) {
    case 0: ""
    case 1:
      String(
        repeating: ["x", "é", " ", "\n", "\u{1F600}"].randomElement(using: &random) ?? "x",
        count: [1, 255, 256, 2046, 2047, 2048, 65534, 65535, 65536, 70000].randomElement(using: &random) ?? 1)
    default: "console=ttyS0"
    }
  }

  /// Returns 0 to 1200 random bytes, sometimes with the magic numbers of a format.
  private func noise(_ random: inout SplitMix) -> [UInt8] {
    var image = MutatedImage(
      (0..<Int.random(in: 0...1200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
    if chance(3, &random) { image.set(0, 4, 0x464C_457F) }
    if chance(3, &random) { image.set(0x202, 4, 0x5372_6448) }
    if chance(3, &random) { image.set(0x1FE, 2, 0xAA55) }
    if chance(3, &random) { image.set(64, 4, 0x1BAD_B002) }
    return image.bytes
  }

  /// Returns a value for a field: a limit of an integer, the file, RAM or the machine, or a changed value.
  private func value(
    _ field: MutatedImage.Field, _ image: MutatedImage, _ memory: UInt64, _ random: inout SplitMix
  ) -> UInt64 {
    let old = image.number(field.offset, field.width)
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return 0
    case 1: return near(.max, &random)
    case 2: return near(UInt64(1) << UInt64(field.width * 8 - 1), &random)
    case 3: return near(UInt64(1) << UInt64.random(in: 0...63, using: &random), &random)
    case 4: return near(old, &random)
    case 5: return near(UInt64(image.bytes.count), &random)
    case 6: return near(memory, &random)
    case 7:
      return near(
        [0x10_0000, 0xC000_0000, 0x1_0000_0000, 0x2000, 0x2_0000].randomElement(using: &random) ?? 0, &random)
    case 8: return old ^ UInt64(1) << UInt64.random(in: 0..<UInt64(field.width * 8), using: &random)
    default: return random.next()
    }
  }

  /// Returns a number close to another number. It may wrap around.
  private func near(_ value: UInt64, _ random: inout SplitMix) -> UInt64 {
    switch Int.random(in: 0..<8, using: &random) {
    case 0..<3: value
    case 3: value &- 1
    case 4: value &+ 1
    case 5: value &- UInt64.random(in: 0...0x2000, using: &random)
    case 6: value &+ UInt64.random(in: 0...0x2000, using: &random)
    default: value &- value / 2
    }
  }

  private func chance(_ times: Int, _ random: inout SplitMix) -> Bool {
    Int.random(in: 0..<times, using: &random) == 0
  }
}
