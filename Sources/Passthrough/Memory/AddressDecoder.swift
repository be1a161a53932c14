// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import PCI
internal import Synchronization

/// The addresses that the BARs of a VM's functions answer to, for look-ups without a function's lock.
///
/// Pages in which several memory BARs have bytes are not mapped: every access is trapped there and reaches the same BAR,
/// whatever has been mapped before.
public final class AddressDecoder: Sendable {
  /// The addresses of one BAR. These are values, so that a look-up counts no references.
  private struct Range: Equatable {
    var function = 0
    var bar = 0
    var base: UInt64 = 0
    /// Bytes; 0 until the function has its place.
    var size: UInt64 = 0
    var isPort = false
    var isEnabled = false
  }

  /// Owner: all assigned functions. Taken by vCPU threads for a look-up and inside a function's lock for a change;
  /// nothing is locked inside it.
  private let ranges = Mutex<[Range]>([])
  /// Raised when a BAR of any function has moved or its decoding has changed; read by vCPU threads.
  private let counter = Atomic<UInt64>(0)

  init() {}

  /// How often BARs have changed.
  public var changes: UInt64 { counter.load(ordering: .acquiring) }

  /// Reserves entries for the BARs of a function, before the guest starts. Returns the index of the first one.
  func reserve(_ count: Int) -> Int {
    ranges.withLock { ranges in
      defer { ranges.append(contentsOf: repeatElement(Range(), count: count)) }
      return ranges.count
    }
  }

  /// Stores the addresses of a function's BARs.
  ///
  /// - Parameters:
  ///   - start: The index from ``reserve(_:)``.
  ///   - function: Device and function number.
  ///   - isAnswering: True if the function answers what its enable bits let through.
  func update(_ start: Int, function: Int, _ config: ConfigSpace, isAnswering: Bool) {
    let hasChanged = ranges.withLock { ranges in
      var hasChanged = false
      for index in config.bars.indices {
        let bar = config.bars[index]
        let now = Range(
          function: function, bar: bar.index, base: config.base(of: bar), size: bar.size,
          isPort: bar.kind == .io, isEnabled: isAnswering && config.isEnabled(bar))
        if ranges[start + index] != now { hasChanged = true }
        ranges[start + index] = now
      }
      return hasChanged
    }
    if hasChanged { counter.add(1, ordering: .acquiringAndReleasing) }
  }

  /// Finds the BAR at an address. If BARs overlap, one that is enabled goes first; one that is not still counts the
  /// access.
  ///
  /// - Parameters:
  ///   - address: GPA or port.
  ///   - isPort: True for a port.
  public func find(_ address: UInt64, isPort: Bool) -> BARLocation? {
    ranges.withLock { ranges in
      var found: BARLocation?
      for index in ranges.indices where ranges[index].isPort == isPort && address >= ranges[index].base {
        let offset = address - ranges[index].base
        guard offset < ranges[index].size, found == nil || ranges[index].isEnabled else { continue }
        found = BARLocation(function: ranges[index].function, bar: ranges[index].bar, offset: offset)
        if ranges[index].isEnabled { break }
      }
      return found
    }
  }

  /// True if the pages from a GPA on have bytes of more than one memory BAR that is decoded.
  ///
  /// - Parameters:
  ///   - base: GPA; the range begins with its page.
  ///   - size: Bytes, not 0.
  func isShared(_ base: UInt64, size: UInt64) -> Bool {
    let (first, last) = Self.pages(base, size)
    return ranges.withLock { ranges in
      var count = 0
      for index in ranges.indices where ranges[index].isEnabled && !ranges[index].isPort {
        let own = Self.pages(ranges[index].base, ranges[index].size)
        if own.first <= last, first <= own.last { count += 1 }
      }
      return count > 1
    }
  }

  /// The first and the last byte of the pages that a range has bytes in. A range that reaches beyond 2^64 ends there.
  private static func pages(_ base: UInt64, _ size: UInt64) -> (first: UInt64, last: UInt64) {
    let (last, overflow) = base.addingReportingOverflow(size &- 1)
    return (base & ~(WindowCuts.page - 1), overflow ? .max : last | (WindowCuts.page - 1))
  }
}

/// A place in a BAR.
public struct BARLocation: Equatable, Sendable {
  /// Device and function number on the guest's bus.
  public let function: Int
  /// The BAR.
  public let bar: Int
  /// Bytes from its start.
  public let offset: UInt64
}
