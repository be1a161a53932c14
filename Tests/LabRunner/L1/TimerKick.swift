// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// A thread on each of L1's processors that keeps waking the one on the next.
///
/// The emulation of SVM changes a processor's pending interrupts without its lock, so that now and
/// then a timer interrupt gets lost. Nothing tells such a processor, which has halted or is in a
/// guest, until another interrupt comes: here one comes from its neighbour.
final class TimerKick: Sendable {
  private let ring: Linux.EventFD

  private init() throws { ring = try Linux.EventFD() }

  /// Starts the threads; they run until the process ends.
  static func start() throws {
    let count = ProcessInfo.processInfo.activeProcessorCount
    guard count > 1 else { return }
    let tickers = try (0..<count).map { _ in try TimerKick() }
    for processor in 0..<count {
      let own = tickers[processor]
      let next = tickers[(processor + 1) % count]
      _ = try Linux.Thread(name: "tick\(processor)") {
        do throws(KernelError) {
          try Linux.Thread.bind(toProcessor: processor)
          while true { try own.tick(next) }
        } catch { writeStandardError("ticker of processor \(processor): \(error)\n") }
      }
    }
  }

  /// Waits for a ring or a moment, and rings the neighbour; the pause keeps the pace.
  private func tick(_ next: TimerKick) throws(KernelError) {
    if try ring.wait(milliseconds: 20) { try ring.take() }
    next.ring.signal()
    usleep(10_000)
  }
}
