// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization
internal import Trace

/// A file with one JSON object per line for each event of a device, in the order of the events.
///
/// A thread writes it. The file may be a pipe without a reader or a file system that hangs: if nothing has been written
/// for a second while there is something to write, the trace ends with a record `truncated`, and there is one warning.
final class TraceWriter: Sendable {
  private struct State {
    /// Whole records that the writer has not taken.
    var pending: [UInt8] = []
    /// The bytes that the writer has taken and not written.
    var inFlight = 0
    /// When the writer began or the last bytes were written; microseconds.
    var progress: Int64 = 0 {
      didSet { suspicion = nil }
    }
    /// When somebody first saw that the writer makes no progress; microseconds.
    private var suspicion: Int64?
    var failure: KernelError?
    var lost = 0
    var isTruncated = false
    /// The VM has ended: the writer ends when nothing is pending.
    var isOver = false
    /// The user wants the VM to stop: nothing waits for a reader.
    var isHurried = false

    var size: Int { pending.count + inFlight }

    /// True if the writer has made no progress for too long, and none since this was seen: after SIGSTOP and SIGCONT
    /// the writer needs time to run.
    mutating func isStuck(at time: Int64) -> Bool {
      let patience = isHurried ? TraceWriter.hurriedPatience : TraceWriter.patience
      guard inFlight > 0, time - progress >= patience else { return false }
      let first = suspicion ?? time
      suspicion = first
      return time - first >= min(patience, TraceWriter.secondLook)
    }
  }

  let path: String
  private let start: Int64
  private let file: OwnedDescriptor
  /// True for a file, false for a pipe or a terminal.
  private let isRegular: Bool
  /// Signalled when there is something for the writer to do.
  private let wake: EventFD
  /// Signalled by the writer after each write.
  private let progress: EventFD
  /// Signalled by the writer at its end.
  private let done: EventFD
  /// Owner: this trace. Set once by `init`, taken by ``finish()``.
  private let writer = Mutex<Thread?>(nil)
  private let warn: @Sendable (String) -> Void
  /// Owner: this trace. Taken by any thread, inside the lock of the function that the record is about; nothing is
  /// locked inside it.
  private let state = Mutex(State())

  /// The size from which the writer begins by itself.
  private static let batchSize = 32 << 10
  /// The most that waits for the writer. Who adds a record waits while there is more.
  private static let capacity = 1 << 20
  /// The longest time without progress; microseconds.
  private static let patience: Int64 = 1_000_000
  /// The time between the first and the last look at a writer without progress; microseconds.
  private static let secondLook: Int64 = 100_000
  /// The longest time without progress after a stop was requested; microseconds.
  private static let hurriedPatience: Int64 = 50_000
  /// The longest wait for the writer at the end, if it makes progress; microseconds.
  private static let endPatience: Int64 = 5_000_000
  /// The same after a stop was requested.
  private static let hurriedEndPatience: Int64 = 250_000

  /// Creates the file and starts the thread that writes it.
  ///
  /// - Parameters:
  ///   - start: The moment that times count from; microseconds of the monotonic clock.
  ///   - confine: Called first by the thread, before this returns.
  ///   - warn: Called once, by any thread, with the reason for which the trace ends early.
  init(
    path: String, start: Int64, confine: @escaping @Sendable () throws(KernelError) -> Void = {},
    warn: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(KernelError) {
    self.path = path
    self.start = start
    self.warn = warn
    let file = try OwnedDescriptor(opening: path, .replace)
    isRegular = file.isRegular
    self.file = file
    wake = try EventFD()
    progress = try EventFD()
    done = try EventFD()
    let thread = try Thread(name: "trace") { [self] in
      do throws(KernelError) {
        try Thread.blockSignals()
        try confine()
      } catch { return fail(error) }
      progress.signal()
      write()
    }
    writer.withLock { $0 = thread }
    try progress.wait()
    if let (error, _) = failure { throw error }
  }

  /// Why the file is not complete, and the number of records that are not in it; nil if it is complete or truncated.
  var failure: (error: KernelError, lost: Int)? {
    state.withLock { state in state.failure.map { ($0, state.lost) } }
  }

  /// Adds the record of an event.
  ///
  /// - Parameter flush: True to have it written now.
  func record(_ event: TraceEvent, flush: Bool = false) {
    let begin = Clock.microseconds()
    let line = Self.line(event, at: begin - start)
    while true {
      let now = Clock.microseconds()
      let (isDone, wakes, ends) = state.withLock { state -> (Bool, Bool, Bool) in
        guard state.failure == nil, !state.isTruncated, !state.isOver else {
          state.lost += 1
          return (true, false, false)
        }
        let isFull = state.size + line.utf8.count > Self.capacity
        if state.isStuck(at: now) || isFull && (state.isHurried || now - begin >= Self.patience) {
          truncate(&state, at: now)
          state.lost += 1
          return (true, true, true)
        }
        if isFull { return (false, true, false) }
        state.pending.append(contentsOf: line.utf8)
        return (true, flush || state.pending.count >= Self.batchSize, false)
      }
      if wakes { wake.signal() }
      if ends { warnOfEnd() }
      if isDone { return }
      do throws(KernelError) {
        _ = try progress.wait(milliseconds: 100)
        try progress.take()
      } catch { return fail(error) }
    }
  }

  /// Ends all waits for room, and shortens the wait of ``finish()``. A regular file has no slow reader: nothing changes.
  func hurry() {
    guard !isRegular else { return }
    state.withLock { $0.isHurried = true }
    progress.signal()
  }

  /// Ends the trace, and waits until it is written or the writer makes no progress.
  func finish() {
    let begin = Clock.microseconds()
    state.withLock { $0.isOver = true }
    wake.signal()
    while true {
      do throws(KernelError) {
        if try done.wait(milliseconds: 25) {
          writer.withLock { $0.take() }?.join()
          return
        }
      } catch { return fail(error) }
      let now = Clock.microseconds()
      let ends = state.withLock { state in
        let patience = state.isHurried ? Self.hurriedEndPatience : Self.endPatience
        guard state.isStuck(at: now) || now - begin >= patience else { return false }
        defer { truncate(&state, at: now) }
        return !state.isTruncated
      }
      if ends { warnOfEnd() }
      if state.withLock(\.isTruncated) { return }
    }
  }

  /// Puts the record that says so at the end.
  private func truncate(_ state: inout State, at time: Int64) {
    guard !state.isTruncated else { return }
    state.isTruncated = true
    let last = Self.line(.truncated(path: path), at: time - start)
    state.pending.append(contentsOf: last.utf8)
  }

  private func warnOfEnd() {
    let cause = state.withLock(\.isHurried) ? "not through when the VM was to stop" : "no progress for 1 s"
    warn("trace \(path): write: \(cause); the trace ends here, give a file or a faster reader")
  }

  private func fail(_ error: KernelError) {
    state.withLock { state in
      if state.failure == nil { state.failure = error }
      state.lost += state.pending.count { $0 == UInt8(ascii: "\n") }
      (state.pending, state.inFlight) = ([], 0)
    }
    progress.signal()
    done.signal()
  }

  /// The writer's thread.
  private func write() {
    do throws(KernelError) {
      while true {
        let (batch, isOver) = state.withLock { state in
          let batch = state.pending
          state.pending = []
          (state.inFlight, state.progress) = (batch.count, Clock.microseconds())
          return (batch, state.isOver)
        }
        if batch.isEmpty {
          if isOver { return done.signal() }
          try wake.wait()
          try wake.take()
        } else {
          try write(batch)
        }
      }
    } catch { fail(error) }
  }

  private func write(_ batch: [UInt8]) throws(KernelError) {
    // A pipe's write returns when it has taken all, and only then is that progress.
    let piece = isRegular ? 64 << 10 : 4096
    var written = 0
    while written < batch.count {
      let end = min(written + piece, batch.count)
      do throws(KernelError) { try file.write(batch[written..<end]) } catch {
        state.withLock { $0.lost += batch[written...].count { $0 == UInt8(ascii: "\n") } }
        throw error
      }
      written = end
      state.withLock { ($0.inFlight, $0.progress) = (batch.count - written, Clock.microseconds()) }
      progress.signal()
    }
  }

  private static func line(_ event: TraceEvent, at time: Int64) -> String {
    TraceRecord(time: time, event: event).line + "\n"
  }
}
