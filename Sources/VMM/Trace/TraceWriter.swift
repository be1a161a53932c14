// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization
internal import Trace

/// A trace file with one JSON object per line for each event, in the order of the events.
///
/// A separate thread writes the file. The file may be a pipe without a reader, or its file system may hang.
/// If a write makes no progress for one second, the trace ends with a `truncated` record and one warning is
/// logged.
final class TraceWriter: Sendable {
  private struct State {
    /// The complete records that the writer has not taken.
    var pending: [UInt8] = []
    /// The number of bytes that the writer has taken but not written.
    var inFlight = 0
    /// The time when the writer started a batch or last wrote bytes, in microseconds.
    var progress: Int64 = 0 {
      didSet { firstStuck = nil }
    }
    /// The time when a thread first saw no progress of the writer, in microseconds; nil if no thread has.
    private var firstStuck: Int64?
    var failure: KernelError?
    /// True if the writer's thread could not be confined.
    var isRefused = false
    var lost = 0
    var isTruncated = false
    /// True if the VM has ended. The writer then ends when nothing is pending.
    var isOver = false
    /// True if the user wants the VM to stop. No thread then waits for a reader.
    var isStopRequested = false

    var size: Int { pending.count + inFlight }

    /// True if the writer has made no progress for too long, and none since a thread first saw this. The
    /// second condition gives the writer time to run after SIGSTOP and SIGCONT.
    mutating func isStuck(at time: Int64) -> Bool {
      let timeout = isStopRequested ? TraceWriter.stopTimeout : TraceWriter.timeout
      guard inFlight > 0, time - progress >= timeout else { return false }
      let first = firstStuck ?? time
      firstStuck = first
      return time - first >= min(timeout, TraceWriter.secondCheck)
    }
  }

  let path: String
  private let start: Int64
  private let file: OwnedDescriptor
  /// True for a file, false for a pipe or a terminal.
  private let isRegular: Bool
  /// Signalled when the writer has work.
  private let wake: EventFD
  /// Signalled by the writer after each write.
  private let progress: EventFD
  /// Signalled by the writer when it ends.
  private let done: EventFD
  /// Owner: this trace. Set once by ``begin()``, taken by ``finish()``.
  private let writer = Mutex<Thread?>(nil)
  private let confine: @Sendable () throws(KernelError) -> Void
  private let warn: @Sendable (String) -> Void
  /// Owner: this trace. Taken by any thread, inside the lock of the function that the record is about. No
  /// lock is taken inside it.
  private let state = Mutex(State())

  /// The size of pending records that makes the writer start without a flush, in bytes.
  private static let batchSize = 32 << 10
  /// The maximum size of records that wait for the writer, in bytes. A thread that adds a record waits while
  /// the size would exceed it.
  private static let capacity = 1 << 20
  /// The maximum time without progress, in microseconds.
  private static let timeout: Int64 = 1_000_000
  /// The time between the first and the last check of a writer without progress, in microseconds.
  private static let secondCheck: Int64 = 100_000
  /// The maximum time without progress after a stop request, in microseconds.
  private static let stopTimeout: Int64 = 50_000
  /// The maximum wait at the end for a writer that makes progress, in microseconds.
  private static let endTimeout: Int64 = 5_000_000
  /// The maximum wait at the end after a stop request, in microseconds.
  private static let stopEndTimeout: Int64 = 250_000

  /// Creates the file. Records wait in memory until ``begin()``.
  ///
  /// - Parameters:
  ///   - path: The path of the file. An existing file is truncated.
  ///   - start: The origin of the records' times, in microseconds of the monotonic clock.
  ///   - confine: Called first on the writer's thread, before ``begin()`` returns.
  ///   - warn: Called at most once, on any thread, with the reason why the trace ends early.
  convenience init(
    path: String, start: Int64, confine: @escaping @Sendable () throws(KernelError) -> Void = {},
    warn: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(KernelError) {
    try self.init(
      OwnedDescriptor(opening: path, .replace), path: path, start: start, confine: confine, warn: warn)
  }

  /// Creates a trace in an open file.
  ///
  /// - Parameters:
  ///   - file: The file.
  ///   - path: Its path, or its name for messages.
  ///   - start: As above.
  ///   - confine: As above.
  ///   - warn: As above.
  init(
    _ file: consuming OwnedDescriptor, path: String, start: Int64,
    confine: @escaping @Sendable () throws(KernelError) -> Void = {},
    warn: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(KernelError) {
    self.path = path
    self.start = start
    self.warn = warn
    isRegular = file.isRegular
    self.file = file
    wake = try EventFD()
    progress = try EventFD()
    done = try EventFD()
    self.confine = confine
  }

  /// Starts the writer's thread. Throws an error if the thread cannot be confined.
  func begin() throws(KernelError) {
    let confine = confine
    let thread = try Thread(name: "trace") { [self] in
      do throws(KernelError) {
        try Thread.blockSignals()
        try confine()
      } catch {
        state.withLock { $0.isRefused = true }
        return fail(error)
      }
      progress.signal()
      write()
    }
    writer.withLock { $0 = thread }
    try progress.wait()
    // A write may have failed already. That error belongs to the end of the trace.
    if let error = state.withLock({ $0.isRefused ? $0.failure : nil }) { throw error }
  }

  /// The error that left the file incomplete and the number of lost records, or nil if the file is complete
  /// or truncated.
  var failure: (error: KernelError, lost: Int)? {
    state.withLock { state in state.failure.map { ($0, state.lost) } }
  }

  /// Adds the record of an event.
  ///
  /// - Parameters:
  ///   - event: The event to record.
  ///   - flush: True to make the writer write the record immediately.
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
        if state.isStuck(at: now) || isFull && (state.isStopRequested || now - begin >= Self.timeout) {
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

  /// Ends all waits for room and shortens the wait of ``finish()``. Has no effect on a regular file, which
  /// has no slow reader.
  func requestStop() {
    guard !isRegular else { return }
    state.withLock { $0.isStopRequested = true }
    progress.signal()
  }

  /// Ends the trace. Waits until the trace is written or the writer makes no progress.
  func finish() {
    if writer.withLock({ $0 == nil }), state.withLock({ !$0.isOver && $0.failure == nil }) {
      do throws(KernelError) { try begin() } catch { return fail(error) }
    }
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
        let timeout = state.isStopRequested ? Self.stopEndTimeout : Self.endTimeout
        guard state.isStuck(at: now) || now - begin >= timeout else { return false }
        defer { truncate(&state, at: now) }
        return !state.isTruncated
      }
      if ends { warnOfEnd() }
      if state.withLock(\.isTruncated) { return }
    }
  }

  /// Truncates the trace: appends the `truncated` record as the last record.
  private func truncate(_ state: inout State, at time: Int64) {
    guard !state.isTruncated else { return }
    state.isTruncated = true
    let last = Self.line(.truncated(path: path), at: time - start)
    state.pending.append(contentsOf: last.utf8)
  }

  private func warnOfEnd() {
    let cause =
      state.withLock(\.isStopRequested) ? "not complete when the VM was stopped" : "no progress for 1 s"
    warn("trace \(path): write: \(cause): the trace is truncated")
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

  /// Writes batches until the trace ends. This is the body of the writer's thread.
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
    // A write to a pipe returns only when the pipe has taken all bytes. Small pieces make progress visible.
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
