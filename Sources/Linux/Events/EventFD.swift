// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// An eventfd(2): a counter. The kernel or a thread adds to it, and the kernel or another thread waits for
/// it.
public struct EventFD: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// The descriptor's number, for KVM_IRQFD, VFIO_DEVICE_SET_IRQS and epoll.
  public var number: Int32 { descriptor.number }

  /// Creates an eventfd with a count of zero.
  public init() throws(KernelError) {
    descriptor = OwnedDescriptor(owning: try check(cl_eventfd(), "eventfd"))
  }

  /// Adds one to the count.
  public borrowing func signal() {
    // The call fails only if the count is at its maximum. Adding one then changes nothing.
    _ = cl_eventfd_add(descriptor.number)
  }

  /// Adds one to the count of an eventfd that another owner keeps open.
  public static func signal(_ number: Int32) {
    // As in signal().
    _ = cl_eventfd_add(number)
  }

  /// Returns the count and sets it to zero.
  @discardableResult
  public borrowing func take() throws(KernelError) -> UInt64 {
    UInt64(try check(cl_eventfd_take(descriptor.number), "read eventfd"))
  }

  /// Returns true if the count is not zero. The count does not change.
  public borrowing func isSignaled() throws(KernelError) -> Bool {
    try check(cl_poll_readable(descriptor.number, 0), "poll eventfd") > 0
  }

  /// Waits until the count is not zero, or until the timeout. Returns true if the count is not zero.
  public borrowing func wait(milliseconds: Int32) throws(KernelError) -> Bool {
    try check(cl_poll_readable(descriptor.number, milliseconds), "poll eventfd") > 0
  }

  /// Waits until the count of this eventfd or of another one is not zero. Neither count changes.
  ///
  /// - Returns: False if the count of the other eventfd is not zero.
  public borrowing func wait(orFor other: borrowing EventFD) throws(KernelError) -> Bool {
    try check(cl_poll_either(descriptor.number, other.descriptor.number), "poll eventfd") & 2 == 0
  }

  /// Waits until the count is not zero. The count does not change, so that every waiter continues.
  public borrowing func wait() throws(KernelError) {
    while try check(cl_poll_readable(descriptor.number, -1), "poll eventfd") == 0 {}
  }
}
