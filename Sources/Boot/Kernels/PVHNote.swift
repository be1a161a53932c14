// SPDX-License-Identifier: Apache-2.0

/// The ELF note with which a kernel names its PVH entry (XEN_ELFNOTE_PHYS32_ENTRY).
enum PVHNote {
  private static let type: UInt32 = 18
  private static let name: [UInt8] = [0x58, 0x65, 0x6E, 0]  // "Xen"
  /// No kernel has more notes than this, in bytes.
  static let maximumSize: UInt64 = 1 << 20

  /// Finds the entry in the bytes of a PT_NOTE segment.
  ///
  /// - Parameter alignment: Of the segment; names and descriptors are padded to 4 bytes, or to
  ///   8 where the segment says so.
  /// - Returns: A guest-physical address below 4 GiB, or nothing where there is no such note.
  static func entry(in notes: [UInt8], alignment: UInt64) -> UInt32? {
    let padding = alignment == 8 ? 8 : 4
    func padded(_ size: UInt32) -> Int { (Int(size) + padding - 1) / padding * padding }
    var offset = 0
    while let nameSize: UInt32 = notes.little(at: offset),
      let size: UInt32 = notes.little(at: offset + 4), let type: UInt32 = notes.little(at: offset + 8)
    {
      let nameStart = offset + 12
      // The name follows twelve bytes of header: its padding counts from the note's start.
      let start = offset + (12 + Int(nameSize) + padding - 1) / padding * padding
      if type == Self.type, nameSize == UInt32(name.count),
        notes.dropFirst(nameStart).starts(with: name)
      {
        if size == 4 { return notes.little(at: start) }
        if size == 8, let value: UInt64 = notes.little(at: start) { return UInt32(exactly: value) }
      }
      offset = start + padded(size)
    }
    return nil
  }
}
