// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// The functions that have left their slots and are not yet returned to the host.
final class Departures<B: Backend>: Sendable {
  /// vCPU threads and the control thread add functions, and the control thread takes them. Innermost in the lock order.
  private let functions = Mutex<[AssignedFunction<B>]>([])
  private let event: EventFD

  init() throws(KernelError) { event = try EventFD() }

  /// The descriptor that is readable while functions wait.
  var number: Int32 { event.number }

  /// Adds a function whose gate is closed permanently.
  func add(_ function: AssignedFunction<B>) {
    functions.withLock { $0.append(function) }
    event.signal()
  }

  /// Returns the functions and forgets them.
  func take() throws(KernelError) -> [AssignedFunction<B>] {
    try event.take()
    return functions.withLock { functions in
      defer { functions = [] }
      return functions
    }
  }
}
