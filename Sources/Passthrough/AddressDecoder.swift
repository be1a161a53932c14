// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The decoded ranges of all functions of a VM.
///
/// Pages of the guest in which several BARs have bytes are not mapped: every access is trapped there and reaches the
/// same BAR, whatever has been mapped before.
public final class AddressDecoder: Sendable {
  /// Complete before the guest starts. Taken inside a function's lock; a function's ranges are locked inside it.
  private let functions = Mutex<[DecodedRanges]>([])
  /// Raised when a BAR of any function has moved or its decoding has changed; read by vCPU threads.
  private let counter = Atomic<UInt64>(0)

  init() {}

  func add(_ ranges: DecodedRanges) { functions.withLock { $0.append(ranges) } }
  func noteChange() { counter.add(1, ordering: .acquiringAndReleasing) }

  /// How often BARs have changed.
  public var changes: UInt64 { counter.load(ordering: .acquiring) }

  /// True if the pages from a GPA on have bytes of more than one memory BAR that is decoded.
  ///
  /// - Parameters:
  ///   - base: GPA; the range begins with its page.
  ///   - size: Bytes, not 0.
  func isShared(_ base: UInt64, size: UInt64) -> Bool {
    var count = 0
    functions.withLock { functions in
      for index in functions.indices { count += functions[index].count(from: base, size: size) }
    }
    return count > 1
  }
}
