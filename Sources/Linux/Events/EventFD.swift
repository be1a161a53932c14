// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// An eventfd(2): a counter that a kernel part or a thread adds to, and another waits for.
public struct EventFD: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// The descriptor's number, for KVM_IRQFD, VFIO_DEVICE_SET_IRQS and epoll.
  public var number: Int32 { descriptor.number }

  /// Creates an event with a count of zero.
  public init() throws(KernelError) {
    descriptor = OwnedDescriptor(owning: try check(cl_eventfd(), "eventfd"))
  }

  /// Adds one to the count.
  public borrowing func signal() {
    // Fails only when the count is at its maximum, where one more changes nothing.
    _ = cl_eventfd_add(descriptor.number)
  }

  /// Takes the count: what was there is returned, and zero stays.
  @discardableResult
  public borrowing func take() throws(KernelError) -> UInt64 {
    UInt64(try check(cl_eventfd_take(descriptor.number), "read eventfd"))
  }

  /// Whether the count is not zero; the count stays as it is.
  public borrowing func isSignaled() throws(KernelError) -> Bool {
    try check(cl_poll_readable(descriptor.number, 0), "poll eventfd") > 0
  }

  /// Waits until the count is not zero, or for so long; whether it is not zero.
  public borrowing func wait(milliseconds: Int32) throws(KernelError) -> Bool {
    try check(cl_poll_readable(descriptor.number, milliseconds), "poll eventfd") > 0
  }

  /// Waits until the count of this event or of another one is not zero; both stay as they are.
  ///
  /// - Returns: False if the other one's is not zero.
  public borrowing func wait(orFor other: borrowing EventFD) throws(KernelError) -> Bool {
    try check(cl_poll_either(descriptor.number, other.descriptor.number), "poll eventfd") & 2 == 0
  }

  /// Waits until the count is not zero; the count stays as it is, so that every waiter passes.
  public borrowing func wait() throws(KernelError) {
    while try check(cl_poll_readable(descriptor.number, -1), "poll eventfd") == 0 {}
  }
}
