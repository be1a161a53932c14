// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The initial RAM disk: where it goes, and getting it there.
enum Initrd {
  private static let pageSize: UInt64 = 4096

  /// Loads an initrd as high as the kernel allows, away from what the kernel unpacks.
  ///
  /// - Parameters:
  ///   - end: GPA where the kernel's memory ends.
  ///   - limit: The highest GPA that the initrd's last byte may have below 4 GiB.
  ///   - above4GiB: Whether the kernel also takes one from there, where there is no room below.
  /// - Returns: The guest-physical addresses of its bytes.
  static func load(
    path: String, above end: UInt64, limit: UInt64, above4GiB: Bool, into memory: GuestMemory
  ) throws(BootError) -> Range<UInt64> {
    let file = try ImageFile(opening: BootFile(.initrd, path: path))
    var places = [end..<max(end, min(memory.lowEnd, limit + 1))]
    if above4GiB {
      places += memory.regions.dropFirst().map { $0.base.rawValue..<$0.end.rawValue }
    }
    guard let start = places.lazy.compactMap({ highest(file.size, in: $0) }).first else {
      throw failure(file, above: end, limit: limit, above4GiB: above4GiB, places: places, memory: memory)
    }
    try file.load(offset: 0, count: file.size, into: memory, at: GuestAddress(start))
    return start..<start + file.size
  }

  /// The highest page boundary from which `size` bytes end within `range`.
  static func highest(_ size: UInt64, in range: Range<UInt64>) -> UInt64? {
    guard size <= range.upperBound - range.lowerBound else { return nil }
    let start = (range.upperBound - size) & ~(pageSize - 1)
    return start >= range.lowerBound ? start : nil
  }

  private static func failure(
    _ file: borrowing ImageFile, above end: UInt64, limit: UInt64, above4GiB: Bool,
    places: [Range<UInt64>], memory: GuestMemory
  ) -> BootError {
    let path = file.file.path
    let size = file.size
    let limit = min(limit, GuestMemory.holeStart - 1)
    let lowest = end.roundedUp(to: pageSize)
    let (needed, overflow) = lowest.addingReportingOverflow(size)
    if !overflow, needed <= limit + 1 || above4GiB {
      let room = places.map { $0.upperBound - $0.lowerBound }.max() ?? 0
      // Beyond the hole the initrd has a region of its own, so all of the low RAM comes on top.
      let total = needed <= limit + 1 ? needed : GuestMemory.holeStart + size.roundedUp(to: pageSize)
      return .initrdTooLarge(path: path, size: size, room: room, memory: memory.size, needed: total)
    }
    return .initrdBeyondKernelLimit(path: path, size: size, limit: limit)
  }
}
