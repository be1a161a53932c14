// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// Prepares guest RAM while the guest starts. A few threads populate guest RAM and pin it for devices. Each
/// thread takes one piece after the other.
///
/// The kernel pins for one I/O address space at a time, whatever the number of threads. The threads find and
/// zero pages concurrently.
final class MemoryPreparer<Space: IOAddressSpace>: Sendable {
  private let memory: GuestMemory
  private let dma: DMAMapper<Space>?
  private let populates: Bool
  private let pieces: [GuestMemory.Region]
  /// The number of threads that must call ``work(shouldStop:pinned:failed:finished:)``.
  let threadCount: Int
  /// The index of the next piece. Each thread that takes a piece increments it. It orders no other memory
  /// access.
  private let next = Atomic<Int>(0)
  /// Taken by each thread after a piece and at its end. Only the lock of `StandardError` is taken inside it.
  private let state: Mutex<State>

  private struct State {
    var done: UInt64 = 0
    var working: Int
    var failure: MemoryPreparationError?
    /// The progress line, or nil if standard error is not a terminal.
    var line: ProgressLine?
  }

  private static var maxThreads: Int { 8 }

  /// Creates a preparer, or nil if guest RAM needs no preparation.
  ///
  /// - Parameters:
  ///   - memory: Guest RAM.
  ///   - dma: The mapper that pins guest RAM, or nil if no device does DMA.
  ///   - isPreallocated: True if all of guest RAM is populated, even if it is not pinned.
  ///   - processors: The number of host processors that this process may use.
  init?(_ memory: GuestMemory, dma: DMAMapper<Space>?, isPreallocated: Bool, processors: Int) {
    guard dma != nil || isPreallocated else { return nil }
    self.memory = memory
    self.dma = dma
    pieces = memory.pieces(of: dma?.pieceSize ?? max(DMARange.smallestPiece, memory.pageSize))
    // Half of the processors are for the guest. Less than a GiB per thread is not worth a thread.
    threadCount = max(1, min(Self.maxThreads, processors / 2, Int(memory.size >> 30), pieces.count))
    // Pinning also populates the pages. A separate call is worthwhile only with several threads.
    populates = isPreallocated || threadCount > 1
    state = Mutex(State(working: threadCount))
  }

  /// Shows the progress on a terminal. Call this before the threads start.
  func show(on terminal: (standardError: Bool, console: Bool)) {
    guard terminal.standardError else { return }
    let verb = dma == nil ? "populated" : "pinned"
    state.withLock {
      $0.line = ProgressLine(
        total: memory.size, verb: verb, start: Clock.microseconds(), isShared: terminal.console)
    }
  }

  /// Prepares pieces until none is left. Each of the threads calls this.
  ///
  /// - Parameters:
  ///   - shouldStop: Called between pieces. Returns true if the VM is ending.
  ///   - pinned: Called for each pinned piece, with its IOVA, its size in bytes and the time in
  ///     microseconds.
  ///   - failed: Called with the cause if guest RAM cannot be prepared, before threads that wait for it
  ///     continue.
  ///   - finished: Called once, by the last thread, after the wait for pinned RAM has ended.
  func work(
    shouldStop: () -> Bool, pinned: (UInt64, UInt64, Int64) -> Void,
    failed: (MemoryPreparationError) -> Void, finished: () -> Void
  ) {
    var failure: MemoryPreparationError?
    while !shouldStop() {
      let index = next.add(1, ordering: .relaxed).oldValue
      guard index < pieces.count else { break }
      failure = prepare(pieces[index], pinned: pinned)
      if failure != nil {
        next.store(pieces.count, ordering: .relaxed)
        break
      }
      advance(pieces[index].size)
    }
    if let failure { failed(failure) }
    leave(failure, finished)
  }

  private func prepare(
    _ piece: GuestMemory.Region, pinned: (UInt64, UInt64, Int64) -> Void
  ) -> MemoryPreparationError? {
    if populates {
      do throws(KernelError) { try memory.populate(piece) } catch { return .populate(error) }
    }
    do throws(OperationError) { try dma?.pinMemory(piece, mapped: pinned) } catch { return .pin(error) }
    return nil
  }

  private func advance(_ bytes: UInt64) {
    state.withLock { state in
      state.done += bytes
      if let text = state.line?.text(done: state.done, at: Clock.microseconds()) { writeStandardError(text) }
    }
  }

  /// Records the end of a thread. The last thread wakes all threads that wait for pinned RAM.
  private func leave(_ failure: MemoryPreparationError?, _ finished: () -> Void) {
    let outcome: (isLast: Bool, failure: MemoryPreparationError?, isComplete: Bool) = state.withLock {
      state in
      state.working -= 1
      if let failure { state.failure = failure }
      if state.working == 0, let text = state.line?.end(done: state.done) { writeStandardError(text) }
      return (state.working == 0, state.failure, state.done == memory.size)
    }
    if outcome.isLast {
      dma?.finishPinning(outcome.failure?.operation, isComplete: outcome.isComplete)
      finished()
    }
  }
}
