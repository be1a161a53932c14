// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The identity map (Intel SDM volume 3 §4.5). It contains the first 4 GiB from the start. Guests map device
/// memory above 4 GiB, uncached, before its first use.
enum PageMap {
  private static let presentWritable: UInt64 = 0b11
  private static let uncached: UInt64 = 0b1_1000
  private static let large: UInt64 = 1 << 7
  private static let addressMask: UInt64 = 0x000F_FFFF_FFFF_F000

  /// True if the processor supports 1 GiB pages.
  private static var hasGigabytePages: Bool { cpuid_edx(0x8000_0001) & 1 << 26 != 0 }

  /// Maps a range. Returns false if all pages for tables are in use.
  static func map(_ start: UInt64, size: UInt64) -> Bool {
    guard size > 0, start >= 1 << 32 else { return true }
    let shift: UInt64 = hasGigabytePages ? 30 : 21
    var address = start & ~((1 << shift) - 1)
    while address < start + size {
      guard let directories = next(page_map_address(), address >> 39 & 511) else { return false }
      var entry = directories + (address >> 30 & 511) * 8
      if shift == 21 {
        guard let directory = next(directories, address >> 30 & 511) else { return false }
        entry = directory + (address >> 21 & 511) * 8
      }
      mmio_store64(entry, address | presentWritable | uncached | large)
      address += 1 << shift
    }
    return true
  }

  /// Returns the table that an entry of another table points to. Allocates it if the entry is empty.
  private static func next(_ table: UInt64, _ index: UInt64) -> UInt64? {
    let entry = mmio_load64(table + index * 8)
    if entry & 1 != 0 { return entry & addressMask }
    let page = table_page()
    guard page != 0 else { return nil }
    mmio_store64(table + index * 8, page | presentWritable)
    return page
  }
}
