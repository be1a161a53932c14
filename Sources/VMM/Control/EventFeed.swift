// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// The events of a VM on their path to the clients of the control socket. A thread that adds an event never waits.
final class EventFeed: Sendable {
  private struct State {
    /// Whole lines.
    var pending: [UInt8] = []
    /// True if a line was lost.
    var hasOverflowed = false
  }

  /// True while a client receives events.
  private let wanted = Atomic<Bool>(false)
  /// Owner: this feed. Taken by any thread, inside the lock of the function that the event is about. No lock is taken
  /// inside it.
  private let state = Mutex(State())
  /// Signalled when lines are pending.
  let event: EventFD

  /// The maximum size of pending lines, in bytes.
  static let capacity = 256 << 10

  init() throws(KernelError) { event = try EventFD() }

  /// True while a client receives events. No event has to be added otherwise.
  var isWanted: Bool { wanted.load(ordering: .relaxed) }

  /// Records that a client receives events, or that none does.
  func setWanted(_ isWanted: Bool) { wanted.store(isWanted, ordering: .relaxed) }

  /// Adds a line without its newline.
  func add(_ line: String) {
    let isFirst = state.withLock { state in
      let isFirst = state.pending.isEmpty
      guard state.pending.count + line.utf8.count < Self.capacity else {
        state.hasOverflowed = true
        return isFirst
      }
      state.pending.append(contentsOf: line.utf8)
      state.pending.append(UInt8(ascii: "\n"))
      return isFirst
    }
    if isFirst { event.signal() }
  }

  /// Takes the pending lines. `hasOverflowed` is true if a line was lost since the last call.
  func take() -> (lines: [UInt8], hasOverflowed: Bool) {
    state.withLock { state in
      defer { state = State() }
      return (state.pending, state.hasOverflowed)
    }
  }
}
