// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The segments of an ELF file to load into RAM.
struct ELFSegments {
  private let segments: [ELFHeader.Segment]

  /// Creates the list of segments to load, in ascending order of address. Checks that each one is within the
  /// file and within RAM.
  ///
  /// - Parameters:
  ///   - kernel: The ELF file.
  ///   - header: The decoded header of the file.
  ///   - memory: Guest RAM.
  ///   - low: The GPAs below 1 MiB where segments are allowed too.
  init(
    _ kernel: borrowing ImageFile, _ header: ELFHeader, _ memory: GuestMemory, low: Range<UInt64> = 0..<0
  ) throws(BootError) {
    let path = kernel.file.path
    let segments = header.segments
      .filter { $0.type == ELFHeader.Segment.load && $0.memorySize > 0 }
      .sorted { $0.address < $1.address }
    var end: UInt64 = 0
    for segment in segments {
      let address = GuestAddress(segment.address)
      guard segment.fileSize <= segment.memorySize else {
        throw .damaged(path: path, reason: "the segment at \(address) is larger in the file than in memory")
      }
      guard segment.address >= end else {
        throw .damaged(path: path, reason: "the segment at \(address) overlaps another")
      }
      try kernel.require(offset: segment.offset, count: segment.fileSize)
      let (next, overflow) = segment.address.addingReportingOverflow(segment.memorySize)
      let isLow = !overflow && low.contains(segment.address) && next <= low.upperBound
      guard isLow || segment.address >= PlatformLayout.highMemory.rawValue else {
        let allowed =
          low.isEmpty
          ? "" : " and not within \(GuestAddress(low.lowerBound))-\(GuestAddress(low.upperBound - 1))"
        throw .loadAddressTooLow(path: path, reason: "the segment at \(address) is below 1 MiB\(allowed)")
      }
      guard isLow || !overflow && memory.holdsLow(segment.address..<next) else {
        throw .noRoom(path: path, end: overflow ? .max : next, memory: memory.size)
      }
      end = next
    }
    self.segments = segments
  }

  /// Returns the end of the last segment (GPA), or nil if no segment contains the entry.
  func end(covering entry: UInt64) -> UInt64? {
    let isCovered = segments.contains { entry >= $0.address && entry - $0.address < $0.fileSize }
    return isCovered ? segments.last.map { $0.address + $0.memorySize } : nil
  }

  /// Copies the segments into RAM. The memory of a segment beyond its file bytes is not written, because RAM
  /// is already zero.
  func load(_ kernel: borrowing ImageFile, into memory: GuestMemory) throws(BootError) {
    for segment in segments {
      try kernel.load(
        offset: segment.offset, count: segment.fileSize, into: memory, at: GuestAddress(segment.address))
    }
  }
}
