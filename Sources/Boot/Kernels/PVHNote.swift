// SPDX-License-Identifier: Apache-2.0

/// The ELF note that gives a kernel's PVH entry point (XEN_ELFNOTE_PHYS32_ENTRY).
enum PVHNote {
  private static let type: UInt32 = 18
  private static let name: [UInt8] = [0x58, 0x65, 0x6E, 0]  // "Xen"
  /// The largest accepted note segment, in bytes. No kernel has a larger one.
  static let maximumSize: UInt64 = 1 << 20

  /// Finds the PVH entry point in the bytes of a PT_NOTE segment.
  ///
  /// - Parameters:
  ///   - notes: The bytes of the segment.
  ///   - alignment: The segment's alignment in bytes. Names and descriptors are padded to 8 bytes if it is 8,
  ///     otherwise to 4 bytes.
  /// - Returns: A GPA below 4 GiB, or nil if there is none.
  static func entry(in notes: [UInt8], alignment: UInt64) -> UInt32? {
    let padding = alignment == 8 ? 8 : 4
    func padded(_ size: UInt32) -> Int { (Int(size) + padding - 1) / padding * padding }
    var offset = 0
    while let nameSize: UInt32 = notes.little(at: offset),
      let size: UInt32 = notes.little(at: offset + 4), let type: UInt32 = notes.little(at: offset + 8)
    {
      let nameStart = offset + 12
      // The name follows a header of 12 bytes. Its padding is relative to the note's start.
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
