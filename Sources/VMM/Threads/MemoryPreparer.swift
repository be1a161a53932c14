// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Passthrough
internal import Seams
internal import Synchronization

/// Makes guest RAM ready while the guest starts: populates it and pins it for devices, in pieces that a few
/// threads take one after the other.
///
/// The kernel pins for one I/O address space at a time, whatever the number of threads: what they do at once
/// is the finding and zeroing of pages.
final class MemoryPreparer<Space: IOAddressSpace>: Sendable {
  private let memory: GuestMemory
  private let dma: DMAMapper<Space>?
  private let populates: Bool
  private let pieces: [GuestMemory.Region]
  /// How many threads are to call ``work(shouldStop:pinned:)``.
  let threadCount: Int
  /// The next piece. Raised by each thread that takes one; orders nothing else.
  private let next = Atomic<Int>(0)
  /// Taken by each thread after a piece and at its end; nothing is locked inside it.
  private let state: Mutex<State>

  private struct State {
    var done: UInt64 = 0
    var working: Int
    var failure: MemoryPreparationError?
    /// nil where no terminal is there to see it.
    var line: ProgressLine?
  }

  private static var mostThreads: Int { 8 }

  /// nil where there is nothing to do.
  ///
  /// - Parameters:
  ///   - dma: Who pins; nil where no device does DMA.
  ///   - isPreallocated: Whether all is to be populated, pinned or not.
  ///   - processors: How many of the host's processors there are for this.
  init?(_ memory: GuestMemory, dma: DMAMapper<Space>?, isPreallocated: Bool, processors: Int) {
    guard dma != nil || isPreallocated else { return nil }
    self.memory = memory
    self.dma = dma
    pieces = memory.pieces(of: dma?.pieceSize ?? max(DMARange.smallestPiece, memory.pageSize))
    // Half of the processors are left to the guest, and a GiB is nothing to share.
    let most = min(Self.mostThreads, processors / 2, Int(memory.size >> 30), pieces.count)
    threadCount = max(1, most)
    // Pinning finds the pages by itself; only where there are several threads is it worth a call of its own.
    populates = isPreallocated || threadCount > 1
    state = Mutex(State(working: threadCount))
  }

  /// Has a terminal told how far it is; before the threads begin.
  func show(on terminal: (standardError: Bool, console: Bool)) {
    guard terminal.standardError else { return }
    let verb = dma == nil ? "populated" : "pinned"
    state.withLock {
      $0.line = ProgressLine(
        total: memory.size, verb: verb, start: Clock.microseconds(), isShared: terminal.console)
    }
  }

  /// Takes pieces until there are none left; what each of the threads does.
  ///
  /// - Parameters:
  ///   - shouldStop: Asked between pieces; true when the VM is ending.
  ///   - pinned: Told of each piece that has been pinned: I/O address, bytes, microseconds.
  ///   - failed: Called with the cause if guest RAM cannot be made ready, before anyone who waits for it goes on.
  func work(
    shouldStop: () -> Bool, pinned: (UInt64, UInt64, Int64) -> Void, failed: (MemoryPreparationError) -> Void
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
      // The guest has begun by now, and most of its RAM is still to come: what the start has run is not there
      // beside all of it.
      if index == 0 { ProgramCode.release() }
    }
    if let failure { failed(failure) }
    leave(failure)
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

  /// The last thread to leave lets those go on who wait for pinned RAM.
  private func leave(_ failure: MemoryPreparationError?) {
    let outcome: (isLast: Bool, failure: MemoryPreparationError?, isComplete: Bool) = state.withLock {
      state in
      state.working -= 1
      if let failure { state.failure = failure }
      if state.working == 0, let text = state.line?.end(done: state.done) { writeStandardError(text) }
      return (state.working == 0, state.failure, state.done == memory.size)
    }
    if outcome.isLast {
      dma?.finishPinning(outcome.failure?.operation, isComplete: outcome.isComplete)
    }
  }
}
