// SPDX-License-Identifier: Apache-2.0

/// The guest side of assigned functions: memory slots, interrupt routes and irqfds.
public protocol Hypervisor: AnyObject, Sendable {
  /// The eventfd type.
  associatedtype Event: InterruptEvent

  /// The number of memory slots for windows.
  var slotCapacity: Int { get }

  /// Maps host memory into the guest. The caller guarantees that every vCPU is between two instructions.
  ///
  /// - Parameters:
  ///   - base: The GPA, a multiple of the page size.
  ///   - size: The size in bytes, a multiple of the page size.
  ///   - host: The host virtual address.
  /// - Returns: The number of the slot.
  func addSlot(at base: UInt64, size: UInt64, host: UInt64) throws(OperationError) -> UInt32

  /// Removes a memory slot. When this returns, no vCPU can access its memory.
  func removeSlot(_ slot: UInt32) throws(OperationError)

  /// Creates an eventfd with a count of zero.
  func makeEventFD() throws(OperationError) -> Event

  /// Routes an MSI message to a GSI.
  ///
  /// - Parameters:
  ///   - route: The vector's present route, which may be parked, or nil if it has none.
  ///   - address: The address of the message, which selects the CPU.
  ///   - data: The data of the message, which contains the vector.
  /// - Returns: The vector's new route.
  /// - Throws: An error, after which the table is unchanged.
  func setRoute(_ route: Route?, address: UInt64, data: UInt32) throws(OperationError) -> Route

  /// Parks a route. If the table is full, another vector may reuse it. No eventfd is connected to it.
  func parkRoute(_ route: Route)

  /// Frees a route. No eventfd is connected to it.
  func releaseRoute(_ route: Route)

  /// Connects an eventfd to an edge-triggered GSI. A pending count is injected once and the eventfd is reset
  /// to zero.
  func connect(event: Int32, to gsi: UInt32) throws(OperationError)

  /// Connects an eventfd to a level-triggered GSI. The GSI stays asserted until the guest's end of interrupt,
  /// which signals `resample`.
  func connect(event: Int32, toLevelGSI gsi: UInt32, resample: Int32) throws(OperationError)

  /// Disconnects an eventfd from a GSI of either kind. The eventfd keeps its count.
  func disconnect(event: Int32, from gsi: UInt32) throws(OperationError)
}

/// An eventfd that a device signals and the guest's interrupt controller consumes.
public protocol InterruptEvent: AnyObject, Sendable {
  /// The file descriptor.
  var number: Int32 { get }
  /// Adds one to the count.
  func signal()
  /// Sets the count to zero and returns the previous count.
  func take() throws(OperationError) -> UInt64
  /// True if the count is not zero.
  func isSignaled() throws(OperationError) -> Bool
}

/// The route of a vector: a GSI and its owner. It is valid until it is released, or until another vector
/// reuses the GSI of a parked route.
public struct Route: Equatable, Sendable {
  /// The GSI.
  public let gsi: UInt32
  /// A number that distinguishes successive owners of the GSI.
  public let ticket: UInt64

  /// Creates a route.
  public init(gsi: UInt32, ticket: UInt64) {
    self.gsi = gsi
    self.ticket = ticket
  }
}
