// SPDX-License-Identifier: Apache-2.0

/// A queue from which the controller takes commands.
struct SubmissionQueue {
  /// The IOVA of the first entry.
  let base: UInt64
  /// The number of entries.
  let size: Int
  /// The completion queue.
  let completion: Int
  /// The next entry that the controller takes.
  var head = 0
  /// The next entry that the host fills.
  var tail = 0
}

/// A queue into which the controller posts completions.
struct CompletionQueue {
  /// Bytes of an entry.
  static let entrySize = 16

  /// The IOVA of the first entry.
  let base: UInt64
  /// The number of entries.
  let size: Int
  /// The vector, or nil if the queue has no interrupt.
  let vector: Int?
  /// The next entry that the host takes.
  var head = 0
  /// The next entry that the controller fills.
  var tail = 0
  /// The phase of the present round.
  var phase = true

  /// True if the host must take an entry first.
  var isFull: Bool { (tail + 1) % size == head }

  /// Advances to the next entry.
  mutating func advance() {
    tail = (tail + 1) % size
    if tail == 0 { phase.toggle() }
  }
}
