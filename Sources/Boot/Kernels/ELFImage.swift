// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Loads an ELF kernel by the PVH boot protocol (Xen's docs/misc/pvh.pandoc).
enum ELFImage {
  static func load(
    _ kernel: borrowing ImageFile, initrd: BootSource?, commandLine: String, into memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    let path = kernel.file.path
    let header = try ELFHeader(kernel)
    guard header.is64Bit else {
      throw .wrongELF(path: path, reason: "a 32-bit ELF file without a multiboot header")
    }
    let entry = try pvhEntry(kernel, header)
    let segments = try ELFSegments(kernel, header, memory)
    guard let end = segments.end(covering: UInt64(entry)) else {
      throw .damaged(
        path: path, reason: "no segment contains its PVH entry \(GuestAddress(UInt64(entry)))")
    }
    var ramdisk: Range<UInt64>?
    if let initrd {
      // The entry is 32-bit code, so the initrd must be below 4 GiB.
      ramdisk = try Initrd.load(
        initrd, above: end, limit: GuestMemory.holeStart - 1, above4GiB: false, into: memory)
    }
    // The protocol does not limit the command line.
    try KernelImage.storeCommandLine(commandLine, limit: .max, in: memory)
    try segments.load(kernel, into: memory)
    let info = PVHStartInfo(ramdisk: ramdisk, memoryMap: MemoryMap(memory))
    try memory.store(info.bytes, at: PlatformLayout.pvhStartInfo)
    return .pvh32(eip: GuestAddress(UInt64(entry)), ebx: PlatformLayout.pvhStartInfo)
  }

  /// True if the file has a PVH entry.
  static func hasPVHEntry(_ kernel: borrowing ImageFile) throws(BootError) -> Bool {
    let header = try ELFHeader(kernel)
    guard header.is64Bit else { return false }
    return try findEntry(kernel, header) != nil
  }

  private static func pvhEntry(
    _ kernel: borrowing ImageFile, _ header: ELFHeader
  ) throws(BootError) -> UInt32 {
    guard let entry = try findEntry(kernel, header) else { throw .noPVHNote(path: kernel.file.path) }
    return entry
  }

  private static func findEntry(
    _ kernel: borrowing ImageFile, _ header: ELFHeader
  ) throws(BootError) -> UInt32? {
    let path = kernel.file.path
    for segment in header.segments where segment.type == ELFHeader.Segment.note {
      guard segment.fileSize <= PVHNote.maximumSize else {
        throw .damaged(path: path, reason: "its note segment has \(segment.fileSize) bytes, more than 1 MiB")
      }
      let notes = try kernel.read(Int(segment.fileSize), at: segment.offset)
      if let entry = PVHNote.entry(in: notes, alignment: segment.alignment) { return entry }
    }
    return nil
  }
}
