// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Counts of interrupts that processors have taken.
enum Arrival {
  /// Waits until a processor has taken a number of interrupts of a vector. Then waits 5 ms, so that a surplus
  /// interrupt is counted too.
  ///
  /// - Parameter wanted: The number of interrupts since the start of the guest.
  /// - Returns: The number of interrupts that the processor has taken.
  static func count(_ processor: UInt32, _ vector: UInt32, at wanted: UInt64) -> UInt64 {
    _ = Time.wait(milliseconds: 10_000) { interrupt_count(processor, vector) >= wanted }
    Time.wait(milliseconds: 5)
    return interrupt_count(processor, vector)
  }
}
