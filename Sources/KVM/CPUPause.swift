// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// Brings every vCPU of a machine out of the guest and between two instructions, for a change that no
/// instruction may see half of.
///
/// A vCPU that has left KVM_RUN for an access is inside an instruction until KVM_RUN has been entered again and
/// has returned EINTR (KVM api.rst, KVM_EXIT_MMIO).
final class CPUPause: Sendable {
  /// The state of one vCPU.
  final class Member: Sendable {
    private let page: RunPage
    /// True around KVM_RUN. Written by its thread, read by a pausing thread.
    fileprivate let isInGuest = Atomic<Bool>(false)
    /// True in the guest and until its instruction is complete. Written by its thread, read by a pausing thread.
    fileprivate let isBusy = Atomic<Bool>(false)
    /// True while an instruction waits for KVM_RUN to complete it. Used by its thread alone.
    fileprivate let isInside = Atomic<Bool>(false)
    /// True if a pause ended without this vCPU, which asks for another one. Written by a pausing thread and by
    /// its own.
    fileprivate let owesPause = Atomic<Bool>(false)
    /// Its thread, written once by that thread; nothing is locked inside it.
    private let thread = Mutex<Linux.Thread.Identity?>(nil)

    fileprivate init(_ page: RunPage) { self.page = page }

    /// Notes that the calling thread runs this vCPU.
    func adopt() { thread.withLock { $0 = Linux.Thread.Identity.current } }

    /// Makes KVM_RUN return at once, whether it has begun or not.
    func interrupt() {
      page.setImmediateExit(true)
      if isInGuest.load(ordering: .sequentiallyConsistent) { thread.withLock { $0 }?.kick() }
    }
  }

  /// How a vCPU may enter KVM_RUN.
  enum Entry {
    /// As the guest continues.
    case guest
    /// To complete its instruction, and for no other one.
    case completion
    /// Not at all: the vCPU is between two instructions, and has asked for that.
    case none
  }

  /// Complete before the first vCPU runs; nothing is added after that. Taken inside `turn` by a pausing thread.
  private let members = Mutex<[Member]>([])
  /// Held for a pause by a vCPU's thread, outside of every other lock; vCPUs that want to enter the guest wait
  /// for it.
  private let turn = Mutex(())
  private let isWanted = Atomic<Bool>(false)
  /// Signalled by a vCPU that is no longer busy while a pause is wanted.
  private let left: EventFD

  /// A vCPU may be in a long operation for its guest, such as the reset of a device. The others do not wait
  /// longer for it; microseconds.
  private static let patience: Int64 = 5000

  init() throws(KernelError) { left = try EventFD() }

  /// Adds a vCPU.
  func add(_ page: RunPage) -> Member {
    let member = Member(page)
    members.withLock { $0.append(member) }
    return member
  }

  /// Called by a vCPU's thread before KVM_RUN: waits during a pause.
  ///
  /// - Parameter isPausing: The vCPU itself asks for a pause.
  func enter(_ member: Member, isPausing: Bool) -> Entry {
    while true {
      member.isBusy.store(true, ordering: .sequentiallyConsistent)
      member.isInGuest.store(true, ordering: .sequentiallyConsistent)
      let isInside = member.isInside.load(ordering: .relaxed)
      if !isWanted.load(ordering: .sequentiallyConsistent) {
        guard isPausing || member.owesPause.load(ordering: .sequentiallyConsistent) else { return .guest }
        if isInside { return .completion }
        member.owesPause.store(false, ordering: .sequentiallyConsistent)
        leave(member, isInside: false)
        return .none
      }
      if isInside { return .completion }
      leave(member, isInside: false)
      turn.withLock { _ in }
    }
  }

  /// Called by a vCPU's thread after KVM_RUN, and at the thread's end.
  ///
  /// - Parameter isInside: KVM_RUN has to complete the instruction.
  func leave(_ member: Member, isInside: Bool) {
    member.isInside.store(isInside, ordering: .relaxed)
    member.isInGuest.store(false, ordering: .sequentiallyConsistent)
    if isInside { return }
    member.isBusy.store(false, ordering: .sequentiallyConsistent)
    if isWanted.load(ordering: .sequentiallyConsistent) { left.signal() }
  }

  /// Calls `body` while every vCPU is between two instructions; the calling thread's is (``Entry/none``).
  ///
  /// - Returns: False if a vCPU was inside an instruction for too long. `body` has not been called then, and that
  ///   vCPU gets ``Entry/none`` after its instruction.
  func during<Failure: Error>(
    _ body: () throws(Failure) -> Void
  ) throws(Failure) -> Result<Bool, KernelError> {
    try turn.withLock { _ throws(Failure) in
      isWanted.store(true, ordering: .sequentiallyConsistent)
      defer { isWanted.store(false, ordering: .sequentiallyConsistent) }
      do throws(KernelError) {
        guard try members.withLock({ members throws(KernelError) in try wait(for: members) }) else {
          return .success(false)
        }
      } catch { return .failure(error) }
      try body()
      return .success(true)
    }
  }

  private func wait(for members: [Member]) throws(KernelError) -> Bool {
    let end = Clock.microseconds() + Self.patience
    for index in members.indices {
      while members[index].isBusy.load(ordering: .sequentiallyConsistent) {
        if members[index].isInGuest.load(ordering: .sequentiallyConsistent) { members[index].interrupt() }
        let rest = end - Clock.microseconds()
        if rest <= 0 {
          // It passes enter() only after this pause, and finds the debt there.
          members[index].owesPause.store(true, ordering: .sequentiallyConsistent)
          return false
        }
        if try left.wait(milliseconds: Int32(rest / 1000 + 1)) { try left.take() }
      }
    }
    return true
  }
}
