// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The signals of a run, read from a descriptor instead of interrupting a thread.
///
/// Every signal that would end the process ends the VM. Signals that the parent ignored (`nohup`) stay ignored. Those
/// that the parent had blocked are not blocked any longer. A handler of SIGSEGV and the other signals of faults restores
/// the terminal.
public struct SignalFD: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
  /// Signalled if another process has sent the signal of a fault.
  private let outside: EventFD

  /// The effect of a signal.
  public enum Effect: Equatable, Sendable {
    /// The VM ends; the signal's number.
    case end(Int32)
    /// The process was continued (SIGCONT): the terminal may have other settings.
    case resumed
    /// None: a closed pipe, a file too large, or an access to the terminal from its background. The call that brought
    /// it about has failed.
    case none
  }

  /// Takes the signals in this thread and in those it creates from now on.
  public init() throws(KernelError) {
    let event = try EventFD()
    try check(cl_install_fault_handlers(event.number), "sigaction")
    let number = try check(cl_take_signals(), "signalfd")
    outside = event
    descriptor = OwnedDescriptor(owning: number)
  }

  /// Makes an event loop watch for signals, under one token.
  public borrowing func watch(_ loop: borrowing Epoll, as token: UInt64) throws(KernelError) {
    try loop.watch(descriptor.number, as: token)
    try loop.watch(outside.number, as: token)
  }

  /// The effect of the next pending signal, or nil.
  public borrowing func next() throws(KernelError) -> Effect? {
    if try outside.take() > 0 { return .end(cl_outside_signal()) }
    switch try check(cl_signalfd_read(descriptor.number), "read signalfd") {
    case 0: return nil
    case SIGCONT: return .resumed
    case SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU: return Effect.none
    case let signal: return .end(signal)
    }
  }
}
