// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// A thread on each of L1's processors that periodically wakes the thread on the next processor.
///
/// The emulation of SVM changes a processor's pending interrupts without its lock, so that a timer interrupt
/// is sometimes lost. If such a processor has halted or runs a guest, it waits until another interrupt
/// arrives. The wake-up by its neighbour is such an interrupt.
final class TimerKick: Sendable {
  private let ring: Linux.EventFD

  private init() throws { ring = try Linux.EventFD() }

  /// Starts the threads. They run until the process ends.
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
        } catch { writeStandardError("timer kick: processor \(processor): \(error)\n") }
      }
    }
  }

  /// Waits for a signal for up to 20 ms, and signals the neighbour. The pause of 10 ms limits the rate.
  private func tick(_ next: TimerKick) throws(KernelError) {
    if try ring.wait(milliseconds: 20) { try ring.take() }
    next.ring.signal()
    usleep(10_000)
  }
}
