// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Synchronization

/// Descriptors that another process has passed to this process.
public final class PassedDescriptors<Name: Hashable & Sendable>: Sendable {
  /// The remaining descriptors. Taken by any thread for a short time. No lock is taken inside it.
  private let numbers: Mutex<[Name: Int32]>

  /// Takes ownership of open descriptors.
  public init(_ numbers: [Name: Int32]) { self.numbers = Mutex(numbers) }

  /// The numbers of the remaining descriptors.
  public var remaining: [Int32] { numbers.withLock { Array($0.values) } }

  /// Returns the number of a descriptor, for a call that borrows it, or nil.
  public func number(of name: Name) -> Int32? { numbers.withLock { $0[name] } }

  /// Takes a descriptor. Returns nil if it was not passed, or is already taken.
  public func take(_ name: Name) -> OwnedDescriptor? {
    numbers.withLock { $0.removeValue(forKey: name) }.map { OwnedDescriptor(owning: $0) }
  }

  deinit {
    for number in remaining { _ = cl_close(number) }
  }
}
