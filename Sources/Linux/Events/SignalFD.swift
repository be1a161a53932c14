// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The signals of this process. A descriptor receives them, so that they do not interrupt a thread.
///
/// Every signal that would end the process ends the VM. Signals that the parent ignored (`nohup`) stay
/// ignored. Signals that the parent blocked are received. Handlers of SIGSEGV and of the other fault signals
/// restore the terminal.
public struct SignalFD: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
  /// Signalled if another process has sent a fault signal.
  private let foreignFault: EventFD

  /// The effect of a signal.
  public enum Effect: Equatable, Sendable {
    /// The VM ends. The value is the signal's number.
    case end(Int32)
    /// The process was continued (SIGCONT). The terminal may have other settings.
    case resumed
    /// No effect: a closed pipe, a file that is too large, or an access to the terminal from its background.
    /// The call that caused the signal has failed.
    case none
  }

  /// The signal that requests an orderly end (SIGTERM).
  public static let terminate: Int32 = SIGTERM

  /// Redirects the signals of this thread, and of threads that it creates later, to the descriptor.
  public init() throws(KernelError) {
    let event = try EventFD()
    try check(cl_install_fault_handlers(event.number), "sigaction")
    let number = try check(cl_take_signals(), "signalfd")
    foreignFault = event
    descriptor = OwnedDescriptor(owning: number)
  }

  /// Adds the signals to an event loop, under one token.
  public borrowing func watch(_ loop: borrowing Epoll, as token: UInt64) throws(KernelError) {
    try loop.watch(descriptor.number, as: token)
    try loop.watch(foreignFault.number, as: token)
  }

  /// Returns the effect of the next pending signal, or nil if none is pending.
  public borrowing func next() throws(KernelError) -> Effect? {
    if try foreignFault.take() > 0 { return .end(cl_foreign_signal()) }
    switch try check(cl_signalfd_read(descriptor.number), "read signalfd") {
    case 0: return nil
    case SIGCONT: return .resumed
    case SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU: return Effect.none
    case let signal: return .end(signal)
    }
  }
}
