// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Synchronization

/// A file descriptor that several threads use and that one of them can close before its owner goes.
///
/// Who closes it sees to it that no other thread is in a call with it.
public final class SharedDescriptor: Sendable {
  /// -1 once it is closed; calls fail with EBADF then.
  private let current: Atomic<Int32>

  /// Takes over an open descriptor.
  public init(_ descriptor: consuming OwnedDescriptor) { current = Atomic(descriptor.release()) }

  /// The number, for a call that borrows it.
  public var number: Int32 { current.load(ordering: .acquiring) }

  /// Closes it, unless that has been done.
  public func close() {
    let number = current.exchange(-1, ordering: .acquiringAndReleasing)
    if number >= 0 { _ = cl_close(number) }
  }

  deinit { close() }
}
