// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Synchronization

/// Gives devices back by several threads at once, because each takes as long as its resets.
///
/// Under the filters no thread can be made any more: the vCPUs' threads do it when no vCPU runs.
final class HandOver: Sendable {
  private let functions: [AssignedFunction]
  /// Signalled by each vCPU's thread when its vCPU has run for the last time.
  private let stopped: Event
  /// Signalled once, when all have stopped and every gate is closed; waiting threads leave it as it is.
  private let begin: Event
  /// The next of ``functions``. Raised by each thread that takes one; orders nothing else.
  private let next = Atomic<Int>(0)
  /// Taken by each thread whose device could not be given back; nothing is locked inside it.
  private let failures = Mutex<[FunctionError]>([])

  /// - Parameter functions: Those that can be reset without another one of the VM.
  init(_ functions: [AssignedFunction]) throws(KernelError) {
    self.functions = functions
    stopped = try Event()
    begin = try Event()
  }

  /// What a vCPU's thread does at its end.
  func help() {
    stopped.signal()
    // Where waiting fails there is one pair of hands less.
    do throws(KernelError) { try begin.wait() } catch { return }
    work()
  }

  /// Waits until so many vCPUs have stopped.
  func waitForStop(of count: Int) throws(KernelError) {
    var waiting = UInt64(count)
    while waiting > 0 {
      try stopped.wait()
      waiting -= min(waiting, try stopped.take())
    }
  }

  /// Lets the vCPUs' threads begin, and does a part of it.
  func start() {
    begin.signal()
    work()
  }

  /// Why devices could not be given back; once all threads have ended.
  var failed: [FunctionError] { failures.withLock { $0 } }

  private func work() {
    while true {
      let index = next.add(1, ordering: .relaxed).oldValue
      guard index < functions.count else { return }
      do throws(FunctionError) { try functions[index].handBack() } catch {
        failures.withLock { $0.append(error) }
      }
    }
  }
}
