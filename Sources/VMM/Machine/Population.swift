// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// The functions of a VM. Each has a number for the event loop, which is not used again.
final class Population<B: Backend>: Sendable {
  private struct State {
    var members: [(number: Int, function: AssignedFunction<B>)]
    var next: Int
    /// The number of the first function that ``takeArrivals()`` has not returned.
    var firstArrival: Int
  }

  /// The hotplug thread changes it. Innermost in the lock order.
  private let state: Mutex<State>
  /// Signalled after a function has been added.
  let arrival: EventFD

  /// Creates a population. The functions have the numbers from 0 on.
  init(_ functions: [AssignedFunction<B>]) throws(KernelError) {
    arrival = try EventFD()
    let count = functions.count
    state = Mutex(
      State(members: Array(functions.enumerated()).map { ($0, $1) }, next: count, firstArrival: count))
  }

  /// The functions in the order of their arrival.
  var functions: [AssignedFunction<B>] { state.withLock { $0.members.map(\.function) } }

  /// Returns the function with a number, or nil if it has left.
  func function(_ number: Int) -> AssignedFunction<B>? {
    state.withLock { state in state.members.first { $0.number == number }?.function }
  }

  /// Adds a function.
  func add(_ function: AssignedFunction<B>) {
    state.withLock { state in
      state.members.append((state.next, function))
      state.next += 1
    }
    arrival.signal()
  }

  /// Returns the functions that were added since the last call and have not left.
  func takeArrivals() throws(KernelError) -> [(number: Int, function: AssignedFunction<B>)] {
    try arrival.take()
    return state.withLock { state in
      defer { state.firstArrival = state.next }
      return state.members.filter { $0.number >= state.firstArrival }
    }
  }

  /// Forgets a function that was added while the VM runs. A function of the start stays for the summary.
  func remove(_ function: AssignedFunction<B>, keepingFirst count: Int) {
    state.withLock { state in
      state.members.removeAll { $0.function === function && $0.number >= count }
    }
  }
}
