// SPDX-License-Identifier: Apache-2.0

/// The page-table pages of an I/O address space. There are four levels of 512 entries, as in the second-level
/// tables of VT-d and in AMD's tables for 48 bits.
struct IOMMUTables: Equatable {
  /// The size of the pages that map an address range. The raw value is the shift.
  enum Page: UInt64 {
    case small = 12
    case large = 21
    case huge = 30

    /// Selects the largest size that a range of contiguous physical memory allows. The physical memory of a
    /// BAR is aligned like its address.
    init(contiguous range: Range<UInt64>) {
      let bits = (range.lowerBound | range.upperBound).trailingZeroBitCount
      self = bits >= 30 ? .huge : bits >= 21 ? .large : .small
    }
  }

  /// The number of mappings that use a table, by the table's number. `middle` has the tables with entries of
  /// 2 MiB or below, `upper` has the tables with entries of 1 GiB or below. The root is one further table.
  private var middle: [UInt64: Int] = [:]
  private var upper: [UInt64: Int] = [:]
  /// The number of tables with entries of 4 KiB. Ranges are multiples of 2 MiB apart here, so that no table
  /// is shared.
  private var lowest: UInt64 = 0

  /// The number of all tables, including the root.
  var count: Int { Int(lowest) + middle.count + upper.count + 1 }

  /// Maps a range of IOVAs.
  mutating func map(_ range: Range<UInt64>, _ page: Page) { use(range, page, 1) }

  /// Unmaps a range of IOVAs, and frees the tables that become unused.
  mutating func unmap(_ range: Range<UInt64>, _ page: Page) { use(range, page, -1) }

  private mutating func use(_ range: Range<UInt64>, _ page: Page, _ change: Int) {
    func tables(_ shift: UInt64) -> ClosedRange<UInt64> {
      range.lowerBound >> shift...(range.upperBound - 1) >> shift
    }
    func count(_ table: UInt64, _ uses: inout [UInt64: Int]) {
      let now = uses[table, default: 0] + change
      uses[table] = now == 0 ? nil : now
    }
    for table in tables(39) { count(table, &upper) }
    guard page != .huge else { return }
    for table in tables(30) { count(table, &middle) }
    guard page == .small else { return }
    let number = UInt64(tables(21).count)
    lowest = change > 0 ? lowest + number : lowest - number
  }
}
