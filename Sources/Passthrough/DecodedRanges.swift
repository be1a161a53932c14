// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Synchronization

/// The addresses that a function's BARs answer to, for a look-up that does not wait for the
/// function's lock.
final class DecodedRanges: Sendable {
  private struct Range: Equatable {
    var bar: Int
    var base: UInt64
    var size: UInt64
    var isPort: Bool
    var isEnabled: Bool
  }

  /// Taken by vCPU threads for a look-up and, inside the function's lock, for a change; nothing is
  /// locked inside it.
  private let ranges = Mutex<[Range]>([])

  /// - Parameter isAnswering: Whether the function answers what its enable bits let through.
  ///
  /// - Returns: True if a range has changed.
  @discardableResult
  func update(_ config: ConfigSpace, isAnswering: Bool) -> Bool {
    ranges.withLock { ranges in
      var hasChanged = false
      for index in config.bars.indices {
        let bar = config.bars[index]
        let now = Range(
          bar: bar.index, base: config.base(of: bar), size: bar.size, isPort: bar.kind == .io,
          isEnabled: isAnswering && config.isEnabled(bar))
        // In place but for the first time: an exit does not allocate.
        if index < ranges.count {
          if ranges[index] != now { hasChanged = true }
          ranges[index] = now
        } else {
          hasChanged = true
          ranges.append(now)
        }
      }
      return hasChanged
    }
  }

  /// The BAR at an address; one that is enabled goes before one that is not.
  func find(_ address: UInt64, isPort: Bool) -> BarPlace? {
    ranges.withLock { ranges in
      var found: BarPlace?
      for range in ranges where range.isPort == isPort && address >= range.base {
        let offset = address - range.base
        guard offset < range.size, found == nil || range.isEnabled else { continue }
        found = BarPlace(bar: range.bar, offset: offset, isEnabled: range.isEnabled)
        if range.isEnabled { break }
      }
      return found
    }
  }
}

/// A place in a BAR.
public struct BarPlace: Equatable, Sendable {
  /// The BAR.
  public let bar: Int
  /// Bytes from its start.
  public let offset: UInt64
  /// Whether the BAR answers, by the function's enable bits and its state.
  public let isEnabled: Bool
}
