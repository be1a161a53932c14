// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Synchronization

/// The pages of the guest in which the memory BARs of a VM's functions have bytes.
///
/// Pages in which several BARs have bytes are not mapped: every access is trapped there and reaches the same BAR, whatever
/// has been mapped before.
public final class AddressDecoder: Sendable {
  /// The pages of one BAR. These are values, so that a look-up counts no references.
  private struct Pages {
    /// GPA of the first byte and of the last one.
    var first: UInt64 = 0
    var last: UInt64 = 0
    var isDecoded = false
  }

  /// Owner: all assigned functions. Taken inside a function's lock; nothing is locked inside it.
  private let pages = Mutex<[Pages]>([])
  /// Raised when a BAR of any function has moved or its decoding has changed; read by vCPU threads.
  private let counter = Atomic<UInt64>(0)

  init() {}

  /// How often BARs have changed.
  public var changes: UInt64 { counter.load(ordering: .acquiring) }

  /// Reserves entries for the BARs of a function, before the guest starts. Returns the index of the first one.
  func reserve(_ count: Int) -> Int {
    pages.withLock { pages in
      defer { pages.append(contentsOf: repeatElement(Pages(), count: count)) }
      return pages.count
    }
  }

  /// Stores the pages of a function's BARs.
  ///
  /// - Parameters:
  ///   - start: The index from ``reserve(_:)``.
  ///   - isAnswering: Whether the function answers what its enable bits let through.
  func update(_ start: Int, _ config: ConfigSpace, isAnswering: Bool) {
    pages.withLock { pages in
      for index in config.bars.indices {
        let bar = config.bars[index]
        let (first, last) = Self.bounds(config.base(of: bar), bar.size)
        pages[start + index] = Pages(
          first: first, last: last, isDecoded: bar.kind != .io && isAnswering && config.isEnabled(bar))
      }
    }
    counter.add(1, ordering: .acquiringAndReleasing)
  }

  /// True if the pages from a GPA on have bytes of more than one memory BAR that is decoded.
  ///
  /// - Parameters:
  ///   - base: GPA; the range begins with its page.
  ///   - size: Bytes, not 0.
  func isShared(_ base: UInt64, size: UInt64) -> Bool {
    let (first, last) = Self.bounds(base, size)
    return pages.withLock { pages in
      var count = 0
      for index in pages.indices
      where pages[index].isDecoded && pages[index].first <= last && first <= pages[index].last { count += 1 }
      return count > 1
    }
  }

  /// The first and the last byte of the pages that a range has bytes in. A range that reaches beyond 2^64 ends there.
  private static func bounds(_ base: UInt64, _ size: UInt64) -> (UInt64, UInt64) {
    let (last, overflow) = base.addingReportingOverflow(size &- 1)
    return (base & ~(WindowCuts.page - 1), overflow ? .max : last | (WindowCuts.page - 1))
  }
}
