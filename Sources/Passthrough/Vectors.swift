// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import PCI
internal import VFIO

/// Carries MSI-X changes over to the host: device → eventfd → irqfd, for each vector from the
/// moment that the guest first unmasks it.
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

  private let device: Device
  private let machine: VirtualMachine
  private let routes: InterruptRoutes
  /// All vectors have to be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  private let isFixed: Bool
  private var paths: [Path?]
  private var isConnected: [Bool]
  private var isTriggering: [Bool]
  private var isOn = false

  init(
    _ device: Device, machine: VirtualMachine, routes: InterruptRoutes, count: Int
  ) throws(KernelError) {
    self.device = device
    self.machine = machine
    self.routes = routes
    isFixed = try device.interruptInfo(.msix).isFixed
    paths = [Path?](repeating: nil, count: count)
    isConnected = [Bool](repeating: false, count: count)
    isTriggering = isConnected
  }

  /// How many vectors have been used.
  var used: Int { paths.count { $0 != nil } }

  /// Turns MSI-X on in the host, before any vector is unmasked.
  ///
  /// A kernel that cannot add vectors later gets all of them now; none has a trigger yet.
  mutating func enable() throws(KernelError) {
    guard !isOn else { return }
    try device.enableInterrupts(.msix, count: isFixed ? paths.count : 1)
    isOn = true
  }

  /// Turns MSI-X off in the host, after every vector has been masked.
  mutating func disable() throws(KernelError) {
    guard isOn else { return }
    try device.disableInterrupts(.msix)
    isOn = false
    for vector in isTriggering.indices { isTriggering[vector] = false }
  }

  /// Does what a change of the table asks for; the steps that were needed, for the trace.
  mutating func apply(
    _ change: MSIXTable.Change, _ table: borrowing MSIXTable
  ) throws(KernelError) -> [(Int, VectorChange)] {
    switch change {
    case .unmasked(let vector): return try connect(vector, table.entries[vector])
    case .masked(let vector):
      try disconnect(vector)
      return [(vector, .mask)]
    case .message(let vector):
      guard let path = paths[vector] else { return [] }
      try routes.route(path.gsi, to: message(table.entries[vector]))
      return [(vector, .route)]
    }
  }

  private func message(_ entry: MSIXTable.Entry) -> Message {
    Message(address: entry.address, data: entry.data)
  }

  private mutating func connect(
    _ vector: Int, _ entry: MSIXTable.Entry
  ) throws(KernelError) -> [(Int, VectorChange)] {
    var steps: [(Int, VectorChange)] = []
    let path: Path
    if let known = paths[vector] {
      path = known
    } else {
      path = try Path(gsi: routes.allocate())
      paths[vector] = path
    }
    try routes.route(path.gsi, to: message(entry))
    if !isConnected[vector] {
      // KVM injects a count that is already there, without taking it. What arrives from now on it
      // takes itself, so that what is taken here has been injected: none is lost, none doubled.
      try machine.connect(event: path.event.number, toInterrupt: path.gsi)
      isConnected[vector] = true
      try path.event.take()
    }
    if !isTriggering[vector] {
      try device.setTrigger(.msix, vector: vector, event: path.event.number)
      isTriggering[vector] = true
      steps.append((vector, .allocate))
    }
    steps.append((vector, .unmask))
    return steps
  }

  private mutating func disconnect(_ vector: Int) throws(KernelError) {
    guard isConnected[vector], let path = paths[vector] else { return }
    try machine.disconnect(event: path.event.number, fromInterrupt: path.gsi)
    isConnected[vector] = false
  }

  /// Forgets interrupts that were pending when the function was reset or MSI-X went off.
  mutating func clearPending() throws(KernelError) {
    for case let path? in paths { try path.event.take() }
  }

  /// The pending bits of 64 vectors from `first` on: those that are masked and have been raised.
  func pending(from first: Int) throws(KernelError) -> UInt64 {
    var bits: UInt64 = 0
    for vector in first..<max(first, min(first + 64, paths.count)) where !isConnected[vector] {
      if let path = paths[vector], try path.event.isSignaled() { bits |= 1 << UInt64(vector - first) }
    }
    return bits
  }
}
