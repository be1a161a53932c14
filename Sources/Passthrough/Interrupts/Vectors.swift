// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Seams

/// Carries MSI or MSI-X over to the host: device → eventfd → irqfd, for each vector from the moment that
/// the guest first unmasks it.
///
/// A vector for which the host lacks something stays masked. The next unmask tries again.
struct Vectors<B: Backend> {
  /// Host state of one vector.
  private struct Vector {
    /// Kept for the life of the VM: a vCPU's filter has no close().
    var owner: B.Machine.Event? {
      didSet { event = owner?.number ?? -1 }
    }
    /// Cached from `owner`, so that masking does not dereference it.
    private(set) var event: Int32 = -1
    var route: Route?
    /// The event raises the guest's interrupt.
    var isConnected = false
    /// The device signals the event.
    var isTriggering = false
  }

  private let kind: InterruptKind
  private let device: B.Device
  private let machine: B.Machine
  /// All vectors have to be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  private let isFixed: Bool
  private var vectors: [Vector]

  init(_ kind: InterruptKind, of device: B.Device, _ machine: B.Machine, count: Int) {
    self.kind = kind
    self.device = device
    self.machine = machine
    isFixed = device.interruptInfo(kind).isFixed
    vectors = [Vector](repeating: Vector(), count: count)
  }

  /// How many vectors there are.
  var count: Int { vectors.count }
  /// How many vectors have been used.
  var used: Int { vectors.count { $0.owner != nil } }

  /// True if a vector raises the guest's interrupt.
  func isConnected(_ vector: Int) -> Bool { vector < vectors.count && vectors[vector].isConnected }

  /// Turns them on in the host, before any vector is unmasked.
  ///
  /// A kernel that cannot add vectors later gets all of them now, so that none is lost for a rebuild; none
  /// has a trigger yet.
  ///
  /// - Parameter count: How many the guest may unmask.
  /// - Returns: How many of them the host has.
  func enable(count: Int) throws(OperationError) -> Int {
    let got = try device.enableInterrupts(kind, count: isFixed ? count : 1)
    return isFixed ? got : count
  }

  /// Turns them off in the host; no vector triggers any more.
  mutating func disable() throws(OperationError) {
    for vector in vectors.indices { vectors[vector].isTriggering = false }
    try device.disableInterrupts(kind)
  }

  /// Takes every vector from the guest, with pending interrupts, and frees its route.
  ///
  /// - Throws: The first error, after all have been tried. A vector that could not be disconnected keeps its route.
  mutating func disconnectAll() throws(OperationError) {
    var failure: OperationError?
    for vector in vectors.indices {
      do throws(OperationError) {
        _ = try disconnect(vector)
        if let route = vectors[vector].route { machine.releaseRoute(route) }
        vectors[vector].route = nil
        _ = try vectors[vector].owner?.take()
      } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  /// Lets a vector raise a message in the guest.
  ///
  /// - Returns: Whether the device has only now been given the vector's event.
  /// - Throws: What the host lacks; the vector stays masked.
  mutating func connect(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool {
    if vectors[vector].event < 0 { vectors[vector].owner = try makeEvent() }
    let event = vectors[vector].event
    let route: Route
    // Not in a closure, which would keep references to what it captures.
    do throws(OperationError) {
      route = try machine.setRoute(
        vectors[vector].route, address: message.address, data: message.data)
    } catch { throw InterruptFailure(warning: .route, error: error) }
    vectors[vector].route = route
    if !vectors[vector].isConnected {
      do throws(OperationError) { try machine.connect(event: event, to: route.gsi) } catch {
        machine.parkRoute(route)
        throw InterruptFailure(warning: .connection, error: error)
      }
      vectors[vector].isConnected = true
    }
    if vectors[vector].isTriggering { return false }
    do throws(OperationError) { try device.setTrigger(kind, vector: vector, event: event) } catch {
      // Masked again, so that its pending bit is the device's. Staying connected would be harmless: nothing
      // signals the event.
      do throws(OperationError) { _ = try disconnect(vector) } catch {}
      throw InterruptFailure(warning: .trigger, error: error)
    }
    vectors[vector].isTriggering = true
    return true
  }

  /// Gives a vector that may send another message.
  ///
  /// - Returns: As ``connect(_:_:)`` does.
  /// - Throws: What the host lacks; the vector is masked, and its event keeps what arrives.
  mutating func route(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool {
    do throws(InterruptFailure) { return try connect(vector, message) } catch {
      do throws(OperationError) { _ = try disconnect(vector) } catch {
        throw InterruptFailure(warning: .mask, error: error)
      }
      throw error
    }
  }

  /// Masks a vector: its event keeps what arrives. False if it was not connected.
  ///
  /// - Throws: The kernel's answer; the vector still raises the guest's interrupt.
  mutating func disconnect(_ vector: Int) throws(OperationError) -> Bool {
    guard vectors[vector].isConnected, let route = vectors[vector].route else { return false }
    try machine.disconnect(event: vectors[vector].event, from: route.gsi)
    vectors[vector].isConnected = false
    machine.parkRoute(route)
    return true
  }

  /// The pending bits of up to 64 vectors from `first` on.
  ///
  /// - Returns: The masked vectors whose events have been raised, and the masked ones that signal no event: the device
  ///   has the pending bits of those.
  func pending(from first: Int) throws(OperationError) -> (raised: UInt64, inDevice: UInt64) {
    var raised: UInt64 = 0
    var inDevice: UInt64 = 0
    for vector in first..<max(first, min(first + 64, vectors.count)) where !vectors[vector].isConnected {
      let bit: UInt64 = 1 << UInt64(vector - first)
      if vectors[vector].isTriggering, let owner = vectors[vector].owner {
        if try owner.isSignaled() { raised |= bit }
      } else {
        inDevice |= bit
      }
    }
    return (raised, inDevice)
  }

  private func makeEvent() throws(InterruptFailure) -> B.Machine.Event {
    do throws(OperationError) { return try machine.makeEvent() } catch {
      throw InterruptFailure(warning: .event, error: error)
    }
  }
}
