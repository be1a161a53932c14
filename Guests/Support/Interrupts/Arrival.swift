// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Interrupts that processors have taken.
enum Arrival {
  /// Waits until a processor has taken a number of interrupts of a vector, and then long enough for one too many to
  /// show.
  ///
  /// - Parameter wanted: The number, from the start of the guest.
  /// - Returns: How many it has taken.
  static func count(_ processor: UInt32, _ vector: UInt32, at wanted: UInt64) -> UInt64 {
    _ = Time.wait(milliseconds: 10_000) { interrupt_count(processor, vector) >= wanted }
    Time.wait(milliseconds: 5)
    return interrupt_count(processor, vector)
  }
}
