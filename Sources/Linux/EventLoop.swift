// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// epoll(7) over readable descriptors, level-triggered, one event at a time.
public struct EventLoop: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// Creates a loop that watches nothing.
  public init() throws(KernelError) {
    descriptor = OwnedDescriptor(owning: try check(cl_epoll_create(), "epoll_create1"))
  }

  /// Watches a descriptor for input. Files that epoll does not take (regular files,
  /// which are always ready) give an error with EPERM.
  public borrowing func watch(_ number: Int32) throws(KernelError) {
    // SAFETY: EPOLLIN is the constant 1 (sys/epoll.h).
    try check(cl_epoll_control(descriptor.number, EPOLL_CTL_ADD, number, 1), "epoll_ctl add")
  }

  /// Stops watching a descriptor.
  public borrowing func unwatch(_ number: Int32) throws(KernelError) {
    try check(cl_epoll_control(descriptor.number, EPOLL_CTL_DEL, number, 0), "epoll_ctl delete")
  }

  /// Waits for the next descriptor with input, and returns its number.
  public borrowing func next() throws(KernelError) -> Int32 {
    try check(cl_epoll_wait(descriptor.number), "epoll_wait")
  }
}
