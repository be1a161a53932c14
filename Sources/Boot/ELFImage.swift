// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Loads an ELF kernel by the PVH boot protocol (Xen's docs/misc/pvh.pandoc).
enum ELFImage {
  static func load(
    _ kernel: borrowing ImageFile, initrd: String?, commandLine: String, into memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    let path = kernel.file.path
    let header = try ELFHeader(kernel)
    let entry = try pvhEntry(kernel, header)
    let segments = try loadable(kernel, header, memory)
    let covers = { (segment: ELFHeader.Segment) in
      UInt64(entry) >= segment.address && UInt64(entry) - segment.address < segment.fileSize
    }
    guard let end = segments.last.map({ $0.address + $0.memorySize }), segments.contains(where: covers)
    else {
      throw .damaged(
        path: path, reason: "no segment holds its PVH entry \(GuestAddress(UInt64(entry)))")
    }
    var ramdisk: Range<UInt64>?
    if let initrd {
      // The entry is 32-bit code, so the initrd stays where that can see it.
      ramdisk = try Initrd.load(
        path: initrd, above: end, limit: GuestMemory.holeStart - 1, above4GiB: false, into: memory)
    }
    // The protocol has no limit of its own.
    try KernelImage.place(commandLine: commandLine, limit: .max, in: memory)
    for segment in segments {
      try kernel.load(
        offset: segment.offset, count: segment.fileSize, into: memory,
        at: GuestAddress(segment.address))
    }
    let info = PVHStartInfo(ramdisk: ramdisk, memoryMap: MemoryMap(memory))
    try memory.place(info.bytes, at: PlatformLayout.pvhStartInfo)
    return .pvh32(eip: GuestAddress(UInt64(entry)), ebx: PlatformLayout.pvhStartInfo)
  }

  private static func pvhEntry(
    _ kernel: borrowing ImageFile, _ header: ELFHeader
  ) throws(BootError) -> UInt32 {
    let path = kernel.file.path
    for segment in header.segments where segment.type == ELFHeader.Segment.note {
      guard segment.fileSize <= PVHNote.maximumSize else {
        throw .damaged(path: path, reason: "its notes have \(segment.fileSize) bytes")
      }
      let notes = try kernel.read(Int(segment.fileSize), at: segment.offset)
      if let entry = PVHNote.entry(in: notes, alignment: segment.alignment) { return entry }
    }
    throw .noPVHNote(path: path)
  }

  /// The segments to load, in rising order of address, all of them within the file and RAM.
  private static func loadable(
    _ kernel: borrowing ImageFile, _ header: ELFHeader, _ memory: GuestMemory
  ) throws(BootError) -> [ELFHeader.Segment] {
    let path = kernel.file.path
    let segments = header.segments
      .filter { $0.type == ELFHeader.Segment.load && $0.memorySize > 0 }
      .sorted { $0.address < $1.address }
    var end = PlatformLayout.highMemory.rawValue
    for segment in segments {
      let place = GuestAddress(segment.address)
      guard segment.fileSize <= segment.memorySize else {
        throw .damaged(path: path, reason: "the segment at \(place) has more bytes than memory")
      }
      guard segment.address >= end else {
        let reason =
          end == PlatformLayout.highMemory.rawValue
          ? "the segment at \(place) is below 1 MiB" : "the segment at \(place) overlaps another"
        throw .damaged(path: path, reason: reason)
      }
      try kernel.require(offset: segment.offset, count: segment.fileSize)
      let (next, overflow) = segment.address.addingReportingOverflow(segment.memorySize)
      guard !overflow, memory.holdsLow(segment.address..<next) else {
        throw .kernelTooLarge(path: path, end: overflow ? .max : next, memory: memory.size)
      }
      end = next
    }
    return segments
  }
}
