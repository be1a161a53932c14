// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Signals that end a run, read from a descriptor instead of interrupting a thread.
public struct Signals: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// The descriptor's number, for the event loop.
  public var number: Int32 { descriptor.number }

  /// SIGINT.
  public static let interrupt = SIGINT
  /// SIGTERM.
  public static let terminate = SIGTERM
  /// SIGHUP: the terminal went.
  public static let hangup = SIGHUP

  /// SIGPIPE: no one reads what is written.
  public static let brokenPipe = SIGPIPE

  /// Blocks the signals in this thread and in those it creates from now on.
  public init(_ signals: [Int32]) throws(KernelError) {
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let number = unsafe signals.withUnsafeBufferPointer { buffer in
      unsafe cl_signalfd(buffer.baseAddress, Int32(buffer.count))
    }
    descriptor = OwnedDescriptor(owning: try check(number, "signalfd"))
  }

  /// The next pending signal, or nil where there is none.
  public borrowing func next() throws(KernelError) -> Int32? {
    let signal = try check(cl_signalfd_read(descriptor.number), "read signalfd")
    return signal == 0 ? nil : signal
  }
}
