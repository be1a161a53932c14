// SPDX-License-Identifier: Apache-2.0

/// The header of a 64-bit ELF file and its program headers (System V gABI, "Object Files").
struct ELFHeader {
  static let magic: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]
  static let size = 64

  /// One program header.
  struct Segment: Equatable {
    /// PT_LOAD, PT_NOTE, …
    let type: UInt32
    /// Where its bytes are in the file.
    let offset: UInt64
    /// GPA.
    let address: UInt64
    let fileSize: UInt64
    let memorySize: UInt64
    let alignment: UInt64

    static let load: UInt32 = 1
    static let note: UInt32 = 4
    static let headerSize = 56
  }

  let segments: [Segment]

  /// Reads and checks the headers.
  init(_ kernel: borrowing ImageFile) throws(BootError) {
    let path = kernel.file.path
    let header = try kernel.read(Self.size, at: 0)
    guard header[4] == 2, header[5] == 1 else {
      throw .wrongELF(path: path, reason: "is not a 64-bit little-endian ELF file")
    }
    let type = header.little(UInt16.self, at: 16)
    guard header.little(UInt16.self, at: 18) == 62, type == 2 || type == 3 else {
      throw .wrongELF(path: path, reason: "is not an x86-64 program")
    }
    let count = Int(header.little(UInt16.self, at: 56) ?? 0)
    // 0xFFFF (PN_XNUM) means that the number is elsewhere; no kernel needs that.
    guard header.little(UInt16.self, at: 54) == UInt16(Segment.headerSize), count > 0, count < 0xFFFF
    else { throw .damaged(path: path, reason: "it has no usable program headers") }
    let table = try kernel.read(count * Segment.headerSize, at: header.little(at: 32) ?? 0)
    segments = (0..<count).map { Self.segment(table, at: $0 * Segment.headerSize) }
  }

  private static func segment(_ table: [UInt8], at base: Int) -> Segment {
    /// The table has been read whole, so no field is missing.
    func field(_ offset: Int) -> UInt64 { table.little(at: base + offset) ?? 0 }
    return Segment(
      type: table.little(at: base) ?? 0, offset: field(8), address: field(24), fileSize: field(32),
      memorySize: field(40), alignment: field(48))
  }
}
