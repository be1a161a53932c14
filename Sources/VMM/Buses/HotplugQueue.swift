// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// The tasks of the hotplug thread, in the order in which other threads add them.
final class HotplugQueue<B: Backend>: Sendable {
  /// A task of the hotplug thread.
  enum Task: Sendable {
    /// Returns a function to the host. It has left its slot, and its gate is closed permanently.
    case departure(AssignedFunction<B>)
    /// Resets a function after an error that the host's kernel has reported. Its gate is closed.
    case recovery(AssignedFunction<B>, Port<B>)
    /// Completes a request when a function has been returned to the host. The number is the slot of its port.
    case removal(ControlExchange.Request, AssignedFunction<B>, slot: UInt8)
    /// Adds or replaces a device, and completes the request.
    case addition(ControlExchange.Request)
  }

  private struct State {
    var tasks: [Task] = []
    var isOver = false
  }

  /// vCPU threads and the main thread add tasks, and the hotplug thread takes them. Innermost in the lock order.
  private let state = Mutex(State())
  private let event: EventFD

  init() throws(KernelError) { event = try EventFD() }

  /// Adds a task.
  func add(_ task: Task) {
    state.withLock { $0.tasks.append(task) }
    event.signal()
  }

  /// Wakes the hotplug thread, because an event has occurred for which a task can wait.
  func wake() { event.signal() }

  /// Ends the hotplug thread. It performs no later task.
  func finish() {
    state.withLock { $0.isOver = true }
    event.signal()
  }

  /// Waits for tasks and takes them. Returns nil at the end.
  ///
  /// - Parameter milliseconds: The timeout, or -1 for none.
  func next(within milliseconds: Int32) throws(KernelError) -> [Task]? {
    _ = try event.wait(milliseconds: milliseconds)
    return try take()
  }

  /// Takes the tasks. Returns nil at the end.
  func take() throws(KernelError) -> [Task]? {
    try event.take()
    return state.withLock { state in
      defer { state.tasks = [] }
      return state.isOver ? nil : state.tasks
    }
  }
}
