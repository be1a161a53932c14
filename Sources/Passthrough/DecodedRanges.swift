// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Synchronization

/// The addresses that a function's BARs answer to, for a look-up that does not wait for the
/// function's lock.
final class DecodedRanges: Sendable {
  private struct Range {
    var bar: Int
    var base: UInt64
    var size: UInt64
    var isPort: Bool
  }

  /// Taken by vCPU threads for a look-up and, inside the function's lock, for a change; nothing is
  /// locked inside it.
  private let ranges = Mutex<[Range]>([])

  func update(_ config: ConfigSpace) {
    let now = config.bars.map { bar in
      Range(bar: bar.index, base: config.base(of: bar), size: bar.size, isPort: bar.kind == .io)
    }
    ranges.withLock { $0 = now }
  }

  func find(_ address: UInt64, isPort: Bool) -> (bar: Int, offset: UInt64)? {
    ranges.withLock { ranges in
      for range in ranges where range.isPort == isPort && address >= range.base {
        let offset = address - range.base
        if offset < range.size { return (range.bar, offset) }
      }
      return nil
    }
  }
}
