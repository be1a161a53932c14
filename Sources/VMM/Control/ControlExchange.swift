// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// The exchange of operations and results between the thread of the control socket and the main thread.
final class ControlExchange: Sendable {
  /// An operation that the main thread performs.
  struct Request: Sendable {
    /// The number that the result has.
    let ticket: UInt64
    let operation: ControlOperation
    /// The descriptors that the client has sent for the operation.
    var descriptors: [SharedDescriptor] = []
  }

  /// The result of an operation.
  struct Completion: Sendable {
    let ticket: UInt64
    let result: Result<ControlFields, ControlError>
  }

  private struct State {
    var requests: [Request] = []
    var completions: [Completion] = []
    var isOver = false
  }

  /// Owner: this exchange. Taken by both threads for a short time. No lock is taken inside it.
  private let state = Mutex(State())
  /// Signalled when an operation waits for the main thread.
  let forMain: EventFD
  /// Signalled when a result waits for the thread of the socket, and at the end of the VM.
  let forSocket: EventFD

  init() throws(KernelError) {
    forMain = try EventFD()
    forSocket = try EventFD()
  }

  /// Adds an operation for the main thread.
  func request(_ request: Request) {
    state.withLock { $0.requests.append(request) }
    forMain.signal()
  }

  /// Takes the oldest operation, or returns nil.
  func next() -> Request? {
    state.withLock { $0.requests.isEmpty ? nil : $0.requests.removeFirst() }
  }

  /// Adds the result of an operation.
  func complete(_ request: Request, _ result: Result<ControlFields, ControlError>) {
    state.withLock { $0.completions.append(Completion(ticket: request.ticket, result: result)) }
    forSocket.signal()
  }

  /// Requests the end of the socket's thread. The main thread performs no later operation.
  func finish() {
    state.withLock { $0.isOver = true }
    forSocket.signal()
  }

  /// Takes all results. `isOver` is true after the end of the VM.
  func takeCompletions() -> (completions: [Completion], isOver: Bool) {
    state.withLock { state in
      defer { state.completions = [] }
      return (state.completions, state.isOver)
    }
  }
}
