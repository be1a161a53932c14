// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The decoded ranges of all functions of a VM.
///
/// A BAR that is smaller than a page is mapped with its whole page, if no other BAR is in that page of the guest.
public final class AddressDecoder: Sendable {
  /// Complete before the guest starts. Taken inside a function's lock; a function's ranges are locked inside it.
  private let functions = Mutex<[DecodedRanges]>([])
  /// Raised when a BAR of any function has moved or its decoding has changed; read by vCPU threads.
  private let changes = Atomic<UInt64>(0)
  /// True once a BAR that is smaller than a page has a window.
  private let hasSmall = Atomic<Bool>(false)

  init() {}

  func add(_ ranges: DecodedRanges) { functions.withLock { $0.append(ranges) } }
  func noteSmallWindow() { hasSmall.store(true, ordering: .relaxed) }
  func noteChange() { changes.add(1, ordering: .acquiringAndReleasing) }

  /// How often BARs have changed; 0 if no BAR is smaller than a page, so that the page of no window is shared.
  public var sharedPageChanges: UInt64 {
    hasSmall.load(ordering: .relaxed) ? changes.load(ordering: .acquiring) : 0
  }

  /// True if the page at a GPA has bytes of more than one memory BAR that is decoded.
  func isShared(pageAt address: UInt64) -> Bool {
    let page = address & ~(WindowLayout.page - 1)
    var count = 0
    functions.withLock { functions in
      for index in functions.indices { count += functions[index].count(inPageAt: page) }
    }
    return count > 1
  }
}
