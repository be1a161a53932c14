// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Places and loads the initial RAM disk.
enum Initrd {
  private static let pageSize: UInt64 = 4096

  /// Loads an initrd at the highest address that the kernel accepts, away from the memory that the kernel
  /// unpacks into.
  ///
  /// - Parameters:
  ///   - source: The initrd.
  ///   - end: The end of the kernel's memory (GPA).
  ///   - limit: The highest GPA allowed for the initrd's last byte below 4 GiB.
  ///   - above4GiB: True if the kernel also accepts an initrd above 4 GiB. That RAM is used if the initrd
  ///     does not fit below.
  ///   - memory: Guest RAM.
  /// - Returns: The GPAs of the initrd's bytes.
  static func load(
    _ source: BootSource, above end: UInt64, limit: UInt64, above4GiB: Bool, into memory: GuestMemory
  ) throws(BootError) -> Range<UInt64> {
    let file = try ImageFile(opening: source, as: .initrd)
    var ranges = [end..<max(end, min(memory.lowEnd, limit + 1))]
    if above4GiB {
      ranges += memory.regions.dropFirst().map { $0.base.rawValue..<$0.end.rawValue }
    }
    guard let start = ranges.lazy.compactMap({ highest(file.size, in: $0) }).first else {
      throw failure(file, above: end, limit: limit, above4GiB: above4GiB, ranges: ranges, memory: memory)
    }
    try file.load(offset: 0, count: file.size, into: memory, at: GuestAddress(start))
    return start..<start + file.size
  }

  /// Returns the highest page boundary at which `size` bytes fit into `range`, or nil if they do not fit.
  static func highest(_ size: UInt64, in range: Range<UInt64>) -> UInt64? {
    guard size <= range.upperBound - range.lowerBound else { return nil }
    let start = (range.upperBound - size) & ~(pageSize - 1)
    return start >= range.lowerBound ? start : nil
  }

  private static func failure(
    _ file: borrowing ImageFile, above end: UInt64, limit: UInt64, above4GiB: Bool,
    ranges: [Range<UInt64>], memory: GuestMemory
  ) -> BootError {
    let path = file.file.path
    let size = file.size
    let limit = min(limit, GuestMemory.holeStart - 1)
    let lowest = end.roundedUp(to: pageSize)
    let (needed, overflow) = lowest.addingReportingOverflow(size)
    if !overflow, needed <= limit + 1 || above4GiB {
      let room = ranges.map { $0.upperBound - $0.lowerBound }.max() ?? 0
      // An initrd above the hole needs a separate region, so the total includes all RAM below the hole.
      let total = needed <= limit + 1 ? needed : GuestMemory.holeStart + size.roundedUp(to: pageSize)
      return .initrdTooLarge(path: path, size: size, room: room, memory: memory.size, needed: total)
    }
    return .initrdBeyondKernelLimit(path: path, size: size, limit: limit)
  }
}
