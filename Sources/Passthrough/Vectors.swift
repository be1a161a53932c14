// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// Carries MSI or MSI-X over to the host: device → eventfd → irqfd, for each vector from the moment that
/// the guest first unmasks it.
struct Vectors {
  /// One vector's way; kept for the life of the VM once it has been used.
  private final class Path: Sendable {
    let event: Event
    let gsi: UInt32

    init(gsi: UInt32) throws(KernelError) {
      event = try Event()
      self.gsi = gsi
    }
  }

  /// What a vector has of its way.
  private struct Vector {
    var path: Path? {
      didSet { (event, gsi) = (path?.event.number ?? -1, path?.gsi ?? 0) }
    }
    /// Those of its path, which a change of mask so need not reach for.
    private(set) var event: Int32 = -1
    private(set) var gsi: UInt32 = 0
    /// The event raises the guest's interrupt.
    var isConnected = false
    /// The device signals the event.
    var isTriggering = false
  }

  private let kind: Device.InterruptKind
  private let device: Device
  private let machine: VirtualMachine
  private let routes: InterruptRoutes
  /// All vectors have to be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  private let isFixed: Bool
  private var vectors: [Vector]

  init(
    _ kind: Device.InterruptKind, of device: Device, machine: VirtualMachine, routes: InterruptRoutes,
    count: Int
  ) throws(KernelError) {
    self.kind = kind
    self.device = device
    self.machine = machine
    self.routes = routes
    isFixed = try device.interruptInfo(kind).isFixed
    vectors = [Vector](repeating: Vector(), count: count)
  }

  /// How many vectors there are.
  var count: Int { vectors.count }
  /// How many vectors have been used.
  var used: Int { vectors.count { $0.path != nil } }

  /// Turns them on in the host, before any vector is unmasked.
  ///
  /// A kernel that cannot add vectors later gets all of them now, so that none is lost for a rebuild; none
  /// has a trigger yet.
  ///
  /// - Parameter count: How many the guest may unmask.
  /// - Returns: How many of them the host has.
  func enable(count: Int) throws(KernelError) -> Int {
    let got = try device.enableInterrupts(kind, count: isFixed ? count : 1)
    return isFixed ? got : count
  }

  /// Turns them off in the host; no vector triggers any more.
  mutating func disable() throws(KernelError) {
    for vector in vectors.indices { vectors[vector].isTriggering = false }
    try device.disableInterrupts(kind)
  }

  /// Takes every vector from the guest, and what was pending with it.
  mutating func disconnectAll() throws(KernelError) {
    for vector in vectors.indices {
      _ = try disconnect(vector)
      try vectors[vector].path?.event.take()
    }
  }

  /// Lets a vector raise a message in the guest.
  ///
  /// - Returns: Whether the device has only now been given the vector's event.
  mutating func connect(_ vector: Int, _ message: InterruptMessage) throws(KernelError) -> Bool {
    if vectors[vector].event < 0 { vectors[vector].path = try Path(gsi: routes.allocate()) }
    let (event, gsi) = (vectors[vector].event, vectors[vector].gsi)
    try routes.route(gsi, to: Message(address: message.address, data: message.data))
    if !vectors[vector].isConnected {
      try machine.connect(event: event, toInterrupt: gsi)
      vectors[vector].isConnected = true
    }
    if vectors[vector].isTriggering { return false }
    try device.setTrigger(kind, vector: vector, event: event)
    vectors[vector].isTriggering = true
    return true
  }

  /// Gives a connected vector another message; false where it has not been used.
  func route(_ vector: Int, _ message: InterruptMessage) throws(KernelError) -> Bool {
    guard vectors[vector].event >= 0 else { return false }
    try routes.route(vectors[vector].gsi, to: Message(address: message.address, data: message.data))
    return true
  }

  /// Masks a vector: its event keeps what arrives. False where it was not connected.
  mutating func disconnect(_ vector: Int) throws(KernelError) -> Bool {
    guard vectors[vector].isConnected else { return false }
    try machine.disconnect(event: vectors[vector].event, fromInterrupt: vectors[vector].gsi)
    vectors[vector].isConnected = false
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
      if vectors[vector].isTriggering, let path = vectors[vector].path {
        if try path.event.isSignaled() { bits |= bit }
      } else {
        let all = own ?? device()
        own = all
        bits |= all & bit
      }
    }
    return bits
  }
}
