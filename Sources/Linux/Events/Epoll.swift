// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// An epoll(7) instance, level-triggered. It returns one descriptor at a time.
public struct Epoll: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// Creates an instance that watches nothing.
  public init() throws(KernelError) {
    descriptor = OwnedDescriptor(owning: try check(cl_epoll_create(), "epoll_create1"))
  }

  /// A condition to wait for. The raw values are EPOLLIN and EPOLLOUT (sys/epoll.h).
  public enum Readiness: UInt32, Sendable {
    /// A read does not wait: there is input, or the end of the file.
    case input = 1
    /// A write does not wait.
    case output = 4
  }

  /// Watches a descriptor. A regular file gives an error with EPERM, because it is always ready.
  ///
  /// - Parameters:
  ///   - number: The descriptor to watch.
  ///   - token: The value that ``next(within:)`` returns when the descriptor is ready.
  ///   - readiness: The condition to wait for.
  public borrowing func watch(
    _ number: Int32, as token: UInt64, for readiness: Readiness = .input
  ) throws(KernelError) {
    try check(
      cl_epoll_control(descriptor.number, EPOLL_CTL_ADD, number, readiness.rawValue, token), "epoll_ctl add")
  }

  /// Stops watching a descriptor.
  public borrowing func unwatch(_ number: Int32) throws(KernelError) {
    try check(cl_epoll_control(descriptor.number, EPOLL_CTL_DEL, number, 0, 0), "epoll_ctl delete")
  }

  /// Waits for the next ready descriptor and returns its token, or nil after the timeout.
  ///
  /// - Parameter timeout: Milliseconds; -1 for none.
  public borrowing func next(within timeout: Int32 = -1) throws(KernelError) -> UInt64? {
    var token: UInt64 = 0
    // SAFETY: the call fills in the number.
    let result = unsafe cl_epoll_wait(descriptor.number, timeout, &token)
    if result == -KernelError.timedOut { return nil }
    try check(result, "epoll_wait")
    return token
  }
}
