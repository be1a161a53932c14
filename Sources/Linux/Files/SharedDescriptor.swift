// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Synchronization

/// A file descriptor that several threads use. One of them can close it before the end of its owner's life.
///
/// The closing thread must ensure that no other thread is in a call with the descriptor.
public final class SharedDescriptor: Sendable {
  /// The number, or -1 after the close. Calls then fail with EBADF.
  private let current: Atomic<Int32>

  /// Takes ownership of an open descriptor.
  public init(_ descriptor: consuming OwnedDescriptor) { current = Atomic(descriptor.release()) }

  /// The number, for a call that borrows it.
  public var number: Int32 { current.load(ordering: .acquiring) }

  /// Makes another number refer to the same open file (dup2). An exec does not close that number.
  public func duplicate(to other: Int32) throws(KernelError) {
    try check(cl_duplicate(number, other), "dup2")
  }

  /// Closes the descriptor unless it is already closed.
  public func close() {
    let number = current.exchange(-1, ordering: .acquiringAndReleasing)
    if number >= 0 { _ = cl_close(number) }
  }

  /// Gives up the ownership and returns the number, or -1 if the descriptor is already closed.
  @discardableResult
  public func release() -> Int32 { current.exchange(-1, ordering: .acquiringAndReleasing) }

  /// Takes ownership of another descriptor, after ``close()``.
  public func replace(with descriptor: consuming OwnedDescriptor) {
    close()
    current.store(descriptor.release(), ordering: .releasing)
  }

  deinit { close() }
}
