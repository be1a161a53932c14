// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
internal import Synchronization

/// Keeps every vCPU of a machine out of the guest while something is done that the guest must not
/// see half of.
final class CPUPause: Sendable {
  /// What is known of one vCPU.
  final class Member: Sendable {
    /// Host address of its shared run structure.
    private let run: UInt64
    /// Set by its thread around KVM_RUN, read by whoever pauses.
    fileprivate let isInGuest = Atomic<Bool>(false)
    /// Its thread, from the moment that it has one; written once.
    private let thread = Mutex<Linux.Thread.Identity?>(nil)

    fileprivate init(run: UInt64) { self.run = run }

    /// Notes that the calling thread runs this vCPU.
    func adopt() { thread.withLock { $0 = Linux.Thread.Identity.current } }

    /// Makes KVM_RUN come back at once, whether it has begun or not.
    func interrupt() {
      cl_run_set_immediate_exit(run, true)
      if isInGuest.load(ordering: .sequentiallyConsistent) { thread.withLock { $0 }?.kick() }
    }
  }

  /// Complete before the first vCPU runs; nothing is added after that. Taken inside `turn` by whoever pauses.
  private let members = Mutex<[Member]>([])
  /// Held for a pause, by the thread that opens a window, inside the lock of its function and that of
  /// nothing else; vCPUs that want to enter the guest meanwhile wait for it.
  private let turn = Mutex(())
  private let isWanted = Atomic<Bool>(false)
  /// Signalled by a vCPU that has left the guest while a pause is wanted.
  private let left: Event

  init() throws(KernelError) { left = try Event() }

  /// Adds a vCPU.
  ///
  /// - Parameter run: Host address of its shared run structure.
  func add(run: UInt64) -> Member {
    let member = Member(run: run)
    members.withLock { $0.append(member) }
    return member
  }

  /// Called by a vCPU's thread before KVM_RUN: waits while there is a pause.
  func enter(_ member: Member) {
    while true {
      member.isInGuest.store(true, ordering: .sequentiallyConsistent)
      guard isWanted.load(ordering: .sequentiallyConsistent) else { return }
      leave(member)
      turn.withLock { _ in }
    }
  }

  /// Called by a vCPU's thread after KVM_RUN.
  func leave(_ member: Member) {
    member.isInGuest.store(false, ordering: .sequentiallyConsistent)
    if isWanted.load(ordering: .sequentiallyConsistent) { left.signal() }
  }

  /// Does something while no vCPU is in the guest; the caller is not either.
  func during(_ body: () throws(KernelError) -> Void) throws(KernelError) {
    try turn.withLock { _ throws(KernelError) in
      isWanted.store(true, ordering: .sequentiallyConsistent)
      defer { isWanted.store(false, ordering: .sequentiallyConsistent) }
      try members.withLock { members throws(KernelError) in
        for index in members.indices
        where members[index].isInGuest.load(ordering: .sequentiallyConsistent) {
          members[index].interrupt()
          while members[index].isInGuest.load(ordering: .sequentiallyConsistent) {
            try left.wait()
            try left.take()
          }
        }
      }
      try body()
    }
  }
}
