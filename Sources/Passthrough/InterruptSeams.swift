// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import VFIO

/// The device's side of its interrupts (VFIO_DEVICE_SET_IRQS).
protocol InterruptSource: Sendable {
  /// True if all vectors have to be allocated at once (VFIO_IRQ_INFO_NORESIZE).
  func isFixed(_ kind: Device.InterruptKind) -> Bool
  /// Turns a kind on; the number of vectors that the host has, at most `count`.
  func enableInterrupts(_ kind: Device.InterruptKind, count: Int) throws(KernelError) -> Int
  /// Turns a kind off.
  func disableInterrupts(_ kind: Device.InterruptKind) throws(KernelError)
  /// Lets a vector signal an eventfd.
  func setTrigger(_ kind: Device.InterruptKind, vector: Int, event: Int32) throws(KernelError)
  /// Lets an eventfd unmask INTx.
  func setUnmask(event: Int32) throws(KernelError)
}

extension Device: InterruptSource {
  func isFixed(_ kind: InterruptKind) -> Bool { interruptInfo(kind).isFixed }
}

/// The guest's side of a device's interrupts: eventfds, irqfds and routes.
protocol InterruptSink: Sendable {
  /// Creates an eventfd.
  func makeEvent() throws(KernelError) -> Event
  /// Routes a vector's message; see ``InterruptRoutes/set(_:to:)``.
  func set(_ route: Route?, to message: Message) throws(KernelError) -> Route
  /// Offers a vector's route to others; see ``InterruptRoutes/park(_:)``.
  func park(_ route: Route)
  /// Frees a vector's route.
  func release(_ route: Route)
  /// Lets an eventfd raise an edge-triggered GSI.
  func connect(event: Int32, to gsi: UInt32) throws(KernelError)
  /// Lets an eventfd raise a line, and the guest's end of interrupt signal another one.
  func connect(event: Int32, toLine gsi: UInt32, resample: Int32) throws(KernelError)
  /// Ends either.
  func disconnect(event: Int32, from gsi: UInt32) throws(KernelError)
}

/// The irqchip of a virtual machine.
struct MachineInterrupts: InterruptSink {
  let machine: VirtualMachine
  let routes: InterruptRoutes

  func makeEvent() throws(KernelError) -> Event { try Event() }

  func set(_ route: Route?, to message: Message) throws(KernelError) -> Route {
    try routes.set(route, to: message)
  }

  func park(_ route: Route) { routes.park(route) }

  func release(_ route: Route) { routes.release(route) }

  func connect(event: Int32, to gsi: UInt32) throws(KernelError) {
    try machine.connect(event: event, toInterrupt: gsi)
  }

  func connect(event: Int32, toLine gsi: UInt32, resample: Int32) throws(KernelError) {
    try machine.connect(event: event, toLine: gsi, resample: resample)
  }

  func disconnect(event: Int32, from gsi: UInt32) throws(KernelError) {
    try machine.disconnect(event: event, fromInterrupt: gsi)
  }
}

/// An interrupt that does not work, or not as the guest has set it; the VM runs on.
struct InterruptFailure: Error, Equatable {
  /// The kind of failure, for ``FunctionState/warn(_:_:)``.
  let warning: Warning
  let error: KernelError
}
