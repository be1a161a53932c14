// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Seams

/// The MSI or MSI-X vectors of a function. Each takes the path device → eventfd → irqfd from the moment at
/// which the guest first unmasks it.
///
/// A vector stays masked if the host lacks a resource for it. The next unmask tries again.
struct Vectors<B: Backend> {
  /// The host's state of one vector.
  private struct Vector {
    /// The eventfd. It is kept for the life of the VM, because the filter of a vCPU thread does not allow
    /// close().
    var eventFD: B.Machine.Event? {
      didSet { descriptor = eventFD?.number ?? -1 }
    }
    /// The descriptor of `eventFD`, or -1. It is cached so that masking does not dereference `eventFD`.
    private(set) var descriptor: Int32 = -1
    var route: Route?
    /// True if the eventfd raises the guest's interrupt.
    var isConnected = false
    /// True if the device signals the eventfd.
    var isTriggering = false
  }

  private let kind: InterruptKind
  private let device: B.Device
  private let machine: B.Machine
  /// True if all vectors must be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  private let isFixed: Bool
  private var vectors: [Vector]

  init(_ kind: InterruptKind, of device: B.Device, _ machine: B.Machine, count: Int) {
    self.kind = kind
    self.device = device
    self.machine = machine
    isFixed = device.interruptInfo(kind).isFixed
    vectors = [Vector](repeating: Vector(), count: count)
  }

  /// The number of vectors.
  var count: Int { vectors.count }
  /// The number of vectors that have been used.
  var used: Int { vectors.count { $0.eventFD != nil } }

  /// True if a vector raises the guest's interrupt.
  func isConnected(_ vector: Int) -> Bool { vector < vectors.count && vectors[vector].isConnected }

  /// Turns the vectors on in the host, before any vector is unmasked.
  ///
  /// A kernel that cannot add vectors later allocates all of them now: a rebuild would lose interrupts. No
  /// vector has a trigger yet.
  ///
  /// - Parameter count: The number of vectors that the guest may unmask.
  /// - Returns: The number of these vectors that the host has.
  func enable(count: Int) throws(OperationError) -> Int {
    let granted = try device.enableInterrupts(kind, count: isFixed ? count : 1)
    return isFixed ? granted : count
  }

  /// Turns the vectors off in the host. No vector signals its eventfd afterwards.
  mutating func disable() throws(OperationError) {
    for vector in vectors.indices { vectors[vector].isTriggering = false }
    try device.disableInterrupts(kind)
  }

  /// Disconnects every vector from the guest, discards its pending interrupt and frees its route.
  ///
  /// - Throws: The first error, after all vectors have been tried. A vector that could not be disconnected
  ///   keeps its route.
  mutating func disconnectAll() throws(OperationError) {
    var failure: OperationError?
    for vector in vectors.indices {
      do throws(OperationError) {
        _ = try disconnect(vector)
        if let route = vectors[vector].route { machine.releaseRoute(route) }
        vectors[vector].route = nil
        _ = try vectors[vector].eventFD?.take()
      } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  /// Connects a vector, so that it raises a message in the guest.
  ///
  /// - Returns: True if the vector had no trigger before.
  /// - Throws: The failure of the host. The vector stays masked.
  mutating func connect(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool {
    if vectors[vector].descriptor < 0 { vectors[vector].eventFD = try makeEventFD() }
    let descriptor = vectors[vector].descriptor
    let route: Route
    // Not in a closure: a closure would retain its captures.
    do throws(OperationError) {
      route = try machine.setRoute(
        vectors[vector].route, address: message.address, data: message.data)
    } catch { throw InterruptFailure(warning: .route, error: error) }
    vectors[vector].route = route
    if !vectors[vector].isConnected {
      do throws(OperationError) { try machine.connect(event: descriptor, to: route.gsi) } catch {
        machine.parkRoute(route)
        throw InterruptFailure(warning: .connection, error: error)
      }
      vectors[vector].isConnected = true
    }
    if vectors[vector].isTriggering { return false }
    do throws(OperationError) { try device.setTrigger(kind, vector: vector, event: descriptor) } catch {
      // Mask the vector again, so that its pending bit comes from the device. A vector that remains connected
      // is harmless: nothing signals its eventfd.
      do throws(OperationError) { _ = try disconnect(vector) } catch {}
      throw InterruptFailure(warning: .trigger, error: error)
    }
    vectors[vector].isTriggering = true
    return true
  }

  /// Sets another message for a vector that is not masked.
  ///
  /// - Returns: True if the vector had no trigger before.
  /// - Throws: The failure of the host. The vector is then masked, and its eventfd keeps the interrupts that
  ///   arrive.
  mutating func route(_ vector: Int, _ message: MSIMessage) throws(InterruptFailure) -> Bool {
    do throws(InterruptFailure) { return try connect(vector, message) } catch {
      do throws(OperationError) { _ = try disconnect(vector) } catch {
        throw InterruptFailure(warning: .mask, error: error)
      }
      throw error
    }
  }

  /// Masks a vector. Its eventfd keeps the interrupts that arrive. Returns false if the vector was not
  /// connected.
  ///
  /// - Throws: The kernel's error. The vector still raises the guest's interrupt.
  mutating func disconnect(_ vector: Int) throws(OperationError) -> Bool {
    guard vectors[vector].isConnected, let route = vectors[vector].route else { return false }
    try machine.disconnect(event: vectors[vector].descriptor, from: route.gsi)
    vectors[vector].isConnected = false
    machine.parkRoute(route)
    return true
  }

  /// Returns the pending bits of up to 64 vectors from `first` on.
  ///
  /// - Returns: In `raised`, the masked vectors whose eventfds have been signalled. In `inDevice`, the masked
  ///   vectors without a trigger, whose pending bits only the device has.
  func pending(from first: Int) throws(OperationError) -> (raised: UInt64, inDevice: UInt64) {
    var raised: UInt64 = 0
    var inDevice: UInt64 = 0
    for vector in first..<max(first, min(first + 64, vectors.count)) where !vectors[vector].isConnected {
      let bit: UInt64 = 1 << UInt64(vector - first)
      if vectors[vector].isTriggering, let eventFD = vectors[vector].eventFD {
        if try eventFD.isSignaled() { raised |= bit }
      } else {
        inDevice |= bit
      }
    }
    return (raised, inDevice)
  }

  private func makeEventFD() throws(InterruptFailure) -> B.Machine.Event {
    do throws(OperationError) { return try machine.makeEventFD() } catch {
      throw InterruptFailure(warning: .event, error: error)
    }
  }
}
