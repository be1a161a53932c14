// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// Stops every vCPU of a VM between two instructions, so that no instruction sees a partial change.
///
/// A vCPU that has left KVM_RUN for an access is inside an instruction. The instruction is complete when
/// KVM_RUN has been entered again and has returned EINTR (KVM api.rst, KVM_EXIT_MMIO).
final class CPUPause: Sendable {
  /// The state of one vCPU.
  final class Member: Sendable {
    private let page: RunPage
    /// True around KVM_RUN. Written by the vCPU's thread, read by a pausing thread.
    fileprivate let isInGuest = Atomic<Bool>(false)
    /// True in the guest and until the instruction is complete. Written by the vCPU's thread, read by a
    /// pausing thread.
    fileprivate let isBusy = Atomic<Bool>(false)
    /// True while an instruction waits for KVM_RUN to complete it. Used only by the vCPU's thread.
    fileprivate let isInside = Atomic<Bool>(false)
    /// True if a pause failed because this vCPU did not stop. The vCPU then asks for another pause. Written
    /// by a pausing thread and by the vCPU's thread.
    fileprivate let needsPause = Atomic<Bool>(false)
    /// The vCPU's thread, written once by that thread. No lock is taken inside it.
    private let thread = Mutex<Linux.Thread.Identity?>(nil)

    fileprivate init(_ page: RunPage) { self.page = page }

    /// Records the calling thread as the thread of this vCPU.
    func adopt() { thread.withLock { $0 = Linux.Thread.Identity.current } }

    /// Makes the current or the next KVM_RUN return immediately.
    func interrupt() {
      page.setImmediateExit(true)
      if isInGuest.load(ordering: .sequentiallyConsistent) { thread.withLock { $0 }?.kick() }
    }
  }

  /// The permitted entry of a vCPU into KVM_RUN.
  enum Entry {
    /// The guest continues.
    case guest
    /// KVM_RUN completes the current instruction and begins no other one.
    case completion
    /// The vCPU does not enter KVM_RUN. It is between two instructions and has asked for a pause.
    case none
  }

  /// The vCPUs. The list is complete before the first vCPU runs. A pausing thread takes this lock inside
  /// `turn`.
  private let members = Mutex<[Member]>([])
  /// Taken by a vCPU's thread for a pause, before every other lock. vCPUs that want to enter the guest wait
  /// for it.
  private let turn = Mutex(())
  private let isWanted = Atomic<Bool>(false)
  /// Signalled by a vCPU that is no longer busy while a pause is wanted.
  private let stopped: EventFD

  /// The timeout of a pause in microseconds. A vCPU may be in a long operation for its guest, such as a
  /// device reset.
  private static let timeout: Int64 = 5000

  init() throws(KernelError) { stopped = try EventFD() }

  /// Adds a vCPU.
  func add(_ page: RunPage) -> Member {
    let member = Member(page)
    members.withLock { $0.append(member) }
    return member
  }

  /// Prepares the entry of a vCPU into KVM_RUN. Called by the vCPU's thread. Waits during a pause.
  ///
  /// - Parameters:
  ///   - member: The state of the vCPU.
  ///   - isPausing: True if the vCPU itself asks for a pause.
  func enter(_ member: Member, isPausing: Bool) -> Entry {
    while true {
      member.isBusy.store(true, ordering: .sequentiallyConsistent)
      member.isInGuest.store(true, ordering: .sequentiallyConsistent)
      let isInside = member.isInside.load(ordering: .relaxed)
      if !isWanted.load(ordering: .sequentiallyConsistent) {
        guard isPausing || member.needsPause.load(ordering: .sequentiallyConsistent) else { return .guest }
        if isInside { return .completion }
        member.needsPause.store(false, ordering: .sequentiallyConsistent)
        leave(member, isInside: false)
        return .none
      }
      if isInside { return .completion }
      leave(member, isInside: false)
      turn.withLock { _ in }
    }
  }

  /// Records that a vCPU has left KVM_RUN. Called by the vCPU's thread after KVM_RUN and when the thread
  /// ends.
  ///
  /// - Parameters:
  ///   - member: The state of the vCPU.
  ///   - isInside: True if KVM_RUN has to complete the instruction.
  func leave(_ member: Member, isInside: Bool) {
    member.isInside.store(isInside, ordering: .relaxed)
    member.isInGuest.store(false, ordering: .sequentiallyConsistent)
    if isInside { return }
    member.isBusy.store(false, ordering: .sequentiallyConsistent)
    if isWanted.load(ordering: .sequentiallyConsistent) { stopped.signal() }
  }

  /// Calls `body` while every vCPU is between two instructions. The calling thread's vCPU already is
  /// (``Entry/none``).
  ///
  /// - Returns: False if a vCPU stayed inside an instruction until the timeout. `body` is then not called,
  ///   and that vCPU gets ``Entry/none`` after its instruction.
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
    let end = Clock.microseconds() + Self.timeout
    for index in members.indices {
      while members[index].isBusy.load(ordering: .sequentiallyConsistent) {
        if members[index].isInGuest.load(ordering: .sequentiallyConsistent) { members[index].interrupt() }
        let rest = end - Clock.microseconds()
        if rest <= 0 {
          // The vCPU passes enter() only after this pause, and then finds `needsPause` set.
          members[index].needsPause.store(true, ordering: .sequentiallyConsistent)
          return false
        }
        if try stopped.wait(milliseconds: Int32(rest / 1000 + 1)) { try stopped.take() }
      }
    }
    return true
  }
}
