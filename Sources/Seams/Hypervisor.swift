// SPDX-License-Identifier: Apache-2.0

/// The guest's side of assigned functions: memory slots, interrupt routes and irqfds.
public protocol Hypervisor: AnyObject, Sendable {
  /// An eventfd.
  associatedtype Event: InterruptEvent

  /// The number of memory slots for windows.
  var slotCapacity: Int { get }

  /// Maps host memory into the guest. Every vCPU is between two instructions.
  ///
  /// - Parameters:
  ///   - base: GPA; a multiple of the page size.
  ///   - size: Bytes; a multiple of the page size.
  ///   - host: Host virtual address.
  /// - Returns: The number of the slot.
  func addSlot(at base: UInt64, size: UInt64, host: UInt64) throws(OperationError) -> UInt32

  /// Removes a slot. When this returns, no vCPU reaches its memory.
  func removeSlot(_ slot: UInt32) throws(OperationError)

  /// Creates an eventfd whose count is zero.
  func makeEvent() throws(OperationError) -> Event

  /// Routes an MSI message to a GSI.
  ///
  /// - Parameters:
  ///   - route: The vector's route so far, which may have been parked; nil if it has none.
  ///   - address: The message's address, which selects the CPU.
  ///   - data: The message's data, which has the vector.
  /// - Returns: The vector's route from now on.
  /// - Throws: The table is unchanged.
  func setRoute(_ route: Route?, address: UInt64, data: UInt32) throws(OperationError) -> Route

  /// Lets another vector take over a route if the table is full. No event is connected to it.
  func parkRoute(_ route: Route)

  /// Frees a route to which no event is connected.
  func releaseRoute(_ route: Route)

  /// Lets an eventfd raise an edge-triggered GSI. A count that the eventfd has is injected once, and taken.
  func connect(event: Int32, to gsi: UInt32) throws(OperationError)

  /// Lets an eventfd raise a level-triggered GSI until the guest's end of interrupt, which signals `resample`.
  func connect(event: Int32, toLine gsi: UInt32, resample: Int32) throws(OperationError)

  /// Ends either. The eventfd keeps its count.
  func disconnect(event: Int32, from gsi: UInt32) throws(OperationError)
}

/// An eventfd that a device signals and the guest's interrupt controller takes.
public protocol InterruptEvent: AnyObject, Sendable {
  /// The descriptor.
  var number: Int32 { get }
  /// Sets the count to zero and returns what it was.
  func take() throws(OperationError) -> UInt64
  /// True if the count is not zero.
  func isSignaled() throws(OperationError) -> Bool
}

/// The GSI of a vector. It is valid until it is released, or until another vector takes over the GSI of a parked route.
public struct Route: Equatable, Sendable {
  /// The GSI.
  public let gsi: UInt32
  /// Tells apart the owners that a GSI has one after the other.
  public let ticket: UInt64

  /// Names a GSI's owner.
  public init(gsi: UInt32, ticket: UInt64) {
    self.gsi = gsi
    self.ticket = ticket
  }
}
