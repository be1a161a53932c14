// SPDX-License-Identifier: Apache-2.0

/// The pieces of a BAR that become windows. All bounds are bytes from the start of the BAR.
public enum WindowCuts {
  /// The minimum distance between two cuts: the size of a huge page.
  private static let smallest: UInt64 = 2 << 20

  /// Returns the mappable pages of a BAR that hold no reserved byte. A mappable BAR smaller than a page has
  /// one page. The kernel sets VFIO_REGION_INFO_FLAG_MMAP only if the page on the host holds nothing else
  /// (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_probe_mmaps).
  public static func areas(
    _ mappable: [Range<UInt64>], barSize: UInt64, without reserved: [Range<UInt64>]
  ) -> [Range<UInt64>] {
    if barSize < page, mappable == [0..<barSize] { return areas([0..<page], without: reserved) }
    return areas(mappable, without: reserved)
  }

  /// The page size in bytes.
  public static let page: UInt64 = 4096

  /// Returns the whole pages of mappable areas that hold no reserved byte.
  public static func areas(
    _ mappable: [Range<UInt64>], without reserved: [Range<UInt64>]
  ) -> [Range<UInt64>] {
    var areas = mappable.map { ($0.lowerBound + 4095) & ~4095..<$0.upperBound & ~4095 }
      .filter { !$0.isEmpty }
    for bytes in reserved {
      let pages = bytes.lowerBound & ~4095..<(bytes.upperBound + 4095) & ~4095
      areas = areas.flatMap { area -> [Range<UInt64>] in
        guard area.overlaps(pages) else { return [area] }
        var rest: [Range<UInt64>] = []
        if area.lowerBound < pages.lowerBound { rest.append(area.lowerBound..<pages.lowerBound) }
        if pages.upperBound < area.upperBound { rest.append(pages.upperBound..<area.upperBound) }
        return rest
      }
    }
    return areas
  }

  /// Cuts an area at multiples of a power of two that depends on the size of the BAR.
  ///
  /// - Parameters:
  ///   - area: The area, in bytes from the start of the BAR.
  ///   - barSize: The size of the BAR in bytes.
  ///   - most: The maximum number of pieces per area.
  public static func pieces(
    of area: Range<UInt64>, barSize: UInt64, most: Int = WindowBudget.finest
  ) -> [Range<UInt64>] {
    var step = smallest
    while step < barSize / UInt64(most) { step <<= 1 }
    var pieces: [Range<UInt64>] = []
    var start = area.lowerBound
    while start < area.upperBound {
      let end = min((start / step + 1) * step, area.upperBound)
      pieces.append(start..<end)
      start = end
    }
    return pieces
  }
}
