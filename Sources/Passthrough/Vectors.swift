// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// Carries MSI or MSI-X over to the host: device → eventfd → irqfd, for each vector from the moment that
/// the guest first unmasks it.
///
/// A vector for which the host lacks something stays masked. The next unmask tries again.
struct Vectors<Source: InterruptSource, Sink: InterruptSink> {
  /// A vector's eventfd in an array. Kept for the life of the VM: a vCPU's filter has no close().
  private final class Owner: Sendable {
    let event: Event
    init(_ event: consuming Event) { self.event = event }
  }

  /// Host state of one vector.
  private struct Vector {
    var owner: Owner? {
      didSet { event = owner?.event.number ?? -1 }
    }
    /// Cached from `owner`, so that masking does not dereference it.
    private(set) var event: Int32 = -1
    var route: Route?
    /// The event raises the guest's interrupt.
    var isConnected = false
    /// The device signals the event.
    var isTriggering = false
  }

  private let kind: Device.InterruptKind
  private let source: Source
  private let sink: Sink
  /// All vectors have to be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  private let isFixed: Bool
  private var vectors: [Vector]

  init(_ kind: Device.InterruptKind, of source: Source, _ sink: Sink, count: Int) {
    self.kind = kind
    self.source = source
    self.sink = sink
    isFixed = source.isFixed(kind)
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
  func enable(count: Int) throws(KernelError) -> Int {
    let got = try source.enableInterrupts(kind, count: isFixed ? count : 1)
    return isFixed ? got : count
  }

  /// Turns them off in the host; no vector triggers any more.
  mutating func disable() throws(KernelError) {
    for vector in vectors.indices { vectors[vector].isTriggering = false }
    try source.disableInterrupts(kind)
  }

  /// Takes every vector from the guest, with pending interrupts, and frees its route.
  ///
  /// - Throws: The first error, after all have been tried. A vector that could not be disconnected keeps its route.
  mutating func disconnectAll() throws(KernelError) {
    var failure: KernelError?
    for vector in vectors.indices {
      do throws(KernelError) {
        _ = try disconnect(vector)
        if let route = vectors[vector].route { sink.release(route) }
        vectors[vector].route = nil
        try vectors[vector].owner?.event.take()
      } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  /// Lets a vector raise a message in the guest.
  ///
  /// - Returns: Whether the device has only now been given the vector's event.
  /// - Throws: What the host lacks; the vector stays masked.
  mutating func connect(_ vector: Int, _ message: InterruptMessage) throws(InterruptFailure) -> Bool {
    if vectors[vector].event < 0 { vectors[vector].owner = try makeOwner() }
    let event = vectors[vector].event
    let route: Route
    // Not in a closure, which would keep references to what it captures.
    do throws(KernelError) {
      route = try sink.set(
        vectors[vector].route, to: Message(address: message.address, data: message.data))
    } catch { throw InterruptFailure(warning: .route, error: error) }
    vectors[vector].route = route
    if !vectors[vector].isConnected {
      do throws(KernelError) { try sink.connect(event: event, to: route.gsi) } catch {
        sink.park(route)
        throw InterruptFailure(warning: .connection, error: error)
      }
      vectors[vector].isConnected = true
    }
    if vectors[vector].isTriggering { return false }
    do throws(KernelError) { try source.setTrigger(kind, vector: vector, event: event) } catch {
      // Masked again, so that its pending bit is the device's. Staying connected would be harmless: nothing
      // signals the event.
      do throws(KernelError) { _ = try disconnect(vector) } catch {}
      throw InterruptFailure(warning: .trigger, error: error)
    }
    vectors[vector].isTriggering = true
    return true
  }

  /// Gives a vector that may send another message.
  ///
  /// - Returns: As ``connect(_:_:)`` does.
  /// - Throws: What the host lacks; the vector is masked, and its event keeps what arrives.
  mutating func route(_ vector: Int, _ message: InterruptMessage) throws(InterruptFailure) -> Bool {
    do throws(InterruptFailure) { return try connect(vector, message) } catch {
      do throws(KernelError) { _ = try disconnect(vector) } catch {
        throw InterruptFailure(warning: .mask, error: error)
      }
      throw error
    }
  }

  /// Masks a vector: its event keeps what arrives. False if it was not connected.
  ///
  /// - Throws: The kernel's answer; the vector still raises the guest's interrupt.
  mutating func disconnect(_ vector: Int) throws(KernelError) -> Bool {
    guard vectors[vector].isConnected, let route = vectors[vector].route else { return false }
    try sink.disconnect(event: vectors[vector].event, from: route.gsi)
    vectors[vector].isConnected = false
    sink.park(route)
    return true
  }

  /// The pending bits of up to 64 vectors from `first` on: those that are masked and have been raised.
  ///
  /// - Parameter device: The pending bits of the device itself, asked for where one of the vectors signals
  ///   no event: it is masked in the device, which keeps its bit.
  func pending(from first: Int, device: () -> UInt64) throws(KernelError) -> UInt64 {
    var bits: UInt64 = 0
    var own: UInt64?
    for vector in first..<max(first, min(first + 64, vectors.count)) where !vectors[vector].isConnected {
      let bit: UInt64 = 1 << UInt64(vector - first)
      if vectors[vector].isTriggering, let owner = vectors[vector].owner {
        if try owner.event.isSignaled() { bits |= bit }
      } else {
        let all = own ?? device()
        own = all
        bits |= all & bit
      }
    }
    return bits
  }

  private func makeOwner() throws(InterruptFailure) -> Owner {
    do throws(KernelError) { return Owner(try sink.makeEvent()) } catch {
      throw InterruptFailure(warning: .event, error: error)
    }
  }
}
