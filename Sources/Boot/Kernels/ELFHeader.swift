// SPDX-License-Identifier: Apache-2.0

/// The header of an x86 ELF file, 32-bit or 64-bit, and its program headers (System V gABI, "Object
/// Files").
struct ELFHeader {
  static let magic: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]
  private static let size = 64

  /// One program header.
  struct Segment: Equatable {
    /// PT_LOAD, PT_NOTE, …
    let type: UInt32
    /// The offset of the segment's bytes in the file.
    let offset: UInt64
    /// The load address (GPA).
    let address: UInt64
    let fileSize: UInt64
    let memorySize: UInt64
    let alignment: UInt64

    static let load: UInt32 = 1
    static let note: UInt32 = 4
  }

  /// True if the file's addresses have 64 bits.
  let is64Bit: Bool
  /// The entry point (GPA).
  let entry: UInt64
  let segments: [Segment]

  /// Creates the headers from a file and checks them.
  init(_ kernel: borrowing ImageFile) throws(BootError) {
    let path = kernel.file.path
    let header = try kernel.read(Self.size, at: 0)
    guard header[4] == 1 || header[4] == 2, header[5] == 1 else {
      throw .wrongELF(path: path, reason: "not a little-endian ELF file")
    }
    is64Bit = header[4] == 2
    let type = header.little(UInt16.self, at: 16)
    // EM_X86_64, or EM_386 for 32-bit programs; ET_EXEC or ET_DYN.
    guard header.little(UInt16.self, at: 18) == (is64Bit ? 62 : 3), type == 2 || type == 3 else {
      throw .wrongELF(path: path, reason: "not an x86 program")
    }
    let count = Int(header.little(UInt16.self, at: is64Bit ? 56 : 44) ?? 0)
    let entrySize = is64Bit ? 56 : 32
    // 0xFFFF (PN_XNUM) means that the number is stored elsewhere. No kernel needs that.
    guard header.little(UInt16.self, at: is64Bit ? 54 : 42) == UInt16(entrySize), count > 0, count < 0xFFFF
    else { throw .damaged(path: path, reason: "it has no usable program headers") }
    let at = Self.word(header, is64Bit ? 32 : 28, is64Bit)
    let table = try kernel.read(count * entrySize, at: at)
    entry = Self.word(header, 24, is64Bit)
    let is64Bit = is64Bit
    segments = (0..<count).map { Self.segment(table, at: $0 * entrySize, is64Bit) }
  }

  /// Reads a number of the file's word width. The caller has checked that the bytes exist.
  private static func word(_ bytes: [UInt8], _ offset: Int, _ is64Bit: Bool) -> UInt64 {
    is64Bit
      ? bytes.little(at: offset) ?? 0 : UInt64(bytes.little(UInt32.self, at: offset) ?? 0)
  }

  private static func segment(_ table: [UInt8], at base: Int, _ is64Bit: Bool) -> Segment {
    /// Reads a field. The flags are the second field of Elf64_Phdr and the second to last of Elf32_Phdr.
    func field(_ wide: Int, _ narrow: Int) -> UInt64 {
      word(table, base + (is64Bit ? wide : narrow), is64Bit)
    }
    return Segment(
      type: table.little(at: base) ?? 0, offset: field(8, 4), address: field(24, 12),
      fileSize: field(32, 16), memorySize: field(40, 20), alignment: field(48, 28))
  }
}
