// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// The guest-physical memory map passed to a kernel (ACPI 6.5 §15, "E820").
public struct MemoryMap: Sendable, Equatable {
  /// The type of a range. E820 and the PVH memory map use the same numbers.
  public enum Kind: UInt32, Sendable {
    /// RAM that the guest may use.
    case usable = 1
    /// Addresses that the guest must use neither as RAM nor for devices.
    case reserved = 2
  }

  /// One range of guest-physical addresses.
  public struct Entry: Sendable, Equatable {
    /// The addresses, never empty.
    public let range: Range<UInt64>
    /// The type of the range.
    public let kind: Kind
  }

  /// The ranges, in ascending order and without overlaps.
  public let entries: [Entry]

  /// The reserved part of the first MiB: BIOS data, video and ROM areas of a PC, with the ACPI tables at its
  /// end.
  static let reservedLow = PlatformLayout.lowMemoryEnd.rawValue..<PlatformLayout.highMemory.rawValue

  /// Creates the map of a machine with this RAM.
  public init(_ memory: GuestMemory) {
    self.init(ram: memory.regions.map { $0.base.rawValue..<$0.end.rawValue })
  }

  /// Creates the map of a machine whose RAM is `ram`: ascending ranges without overlaps.
  init(ram: [Range<UInt64>]) {
    let reserved = [Self.reservedLow, PlatformLayout.ecam]
    var entries = reserved.map { Entry(range: $0, kind: .reserved) }
    for region in ram {
      var free = [region]
      for hole in reserved { free = free.flatMap { Self.subtract(hole, from: $0) } }
      entries += free.map { Entry(range: $0, kind: .usable) }
    }
    self.entries = entries.sorted { $0.range.lowerBound < $1.range.lowerBound }
  }

  private static func subtract(_ hole: Range<UInt64>, from range: Range<UInt64>) -> [Range<UInt64>] {
    guard hole.overlaps(range) else { return range.isEmpty ? [] : [range] }
    let before = range.lowerBound..<max(range.lowerBound, hole.lowerBound)
    let after = min(range.upperBound, hole.upperBound)..<range.upperBound
    return [before, after].filter { !$0.isEmpty }
  }
}
