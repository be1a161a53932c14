// SPDX-License-Identifier: Apache-2.0

public import Seams

/// An eventfd(2) with several owners: the vector of a device, and the hypervisor that receives its
/// interrupts.
public final class SharedEventFD: InterruptEvent {
  private let event: EventFD
  /// The descriptor.
  public let number: Int32

  /// Creates an eventfd with a count of zero.
  public init() throws(OperationError) {
    do throws(KernelError) { event = try EventFD() } catch { throw OperationError(error) }
    number = event.number
  }

  /// Adds one to the count.
  public func signal() { event.signal() }

  /// Returns the count and sets it to zero.
  public func take() throws(OperationError) -> UInt64 {
    do throws(KernelError) { return try event.take() } catch { throw OperationError(error) }
  }

  /// True if the count is not zero.
  public func isSignaled() throws(OperationError) -> Bool {
    do throws(KernelError) { return try event.isSignaled() } catch { throw OperationError(error) }
  }
}
