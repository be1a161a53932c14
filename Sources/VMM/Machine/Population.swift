// SPDX-License-Identifier: Apache-2.0

internal import Passthrough
internal import Seams
internal import Synchronization

/// The functions of a VM. Each has a number for the event loop, which is not used again.
final class Population<B: Backend>: Sendable {
  private struct State {
    var members: [(number: Int, function: AssignedFunction<B>)]
    var next: Int
  }

  /// The control thread changes it. Innermost in the lock order.
  private let state: Mutex<State>

  /// Creates a population. The functions have the numbers from 0 on.
  init(_ functions: [AssignedFunction<B>]) {
    state = Mutex(State(members: Array(functions.enumerated()).map { ($0, $1) }, next: functions.count))
  }

  /// The functions in the order of their arrival.
  var functions: [AssignedFunction<B>] { state.withLock { $0.members.map(\.function) } }

  /// Returns the function with a number, or nil if it has left.
  func function(_ number: Int) -> AssignedFunction<B>? {
    state.withLock { state in state.members.first { $0.number == number }?.function }
  }

  /// Adds a function and returns its number.
  func add(_ function: AssignedFunction<B>) -> Int {
    state.withLock { state in
      defer { state.next += 1 }
      state.members.append((state.next, function))
      return state.next
    }
  }

  /// Forgets a function that was added while the VM runs. A function of the start stays for the summary.
  func remove(_ function: AssignedFunction<B>, keepingFirst count: Int) {
    state.withLock { state in
      state.members.removeAll { $0.function === function && $0.number >= count }
    }
  }
}
