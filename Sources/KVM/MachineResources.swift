// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
public import Linux
public import Seams

/// The memory slots, interrupt routes and irqfds of a VM for its assigned functions.
public final class MachineResources: Hypervisor {
  private let machine: VirtualMachine
  private let slots: MemorySlots
  private let routes: InterruptRoutes

  /// Creates the resources of a VM.
  ///
  /// - Parameters:
  ///   - machine: The VM.
  ///   - slots: The memory slots for windows.
  ///   - routes: The interrupt routes for messages.
  public init(_ machine: VirtualMachine, slots: MemorySlots, routes: InterruptRoutes) {
    self.machine = machine
    self.slots = slots
    self.routes = routes
  }

  /// The number of memory slots for windows.
  public var slotCapacity: Int { slots.capacity }

  /// Maps host memory into the guest (KVM_SET_USER_MEMORY_REGION).
  public func addSlot(at base: UInt64, size: UInt64, host: UInt64) throws(OperationError) -> UInt32 {
    try slots.add(at: .init(base), size: size, host: host)
  }

  /// Removes a memory slot.
  public func removeSlot(_ slot: UInt32) throws(OperationError) { try slots.remove(slot) }

  /// Creates an eventfd.
  public func makeEventFD() throws(OperationError) -> SharedEventFD { try SharedEventFD() }

  /// Routes a message to a GSI (KVM_SET_GSI_ROUTING).
  public func setRoute(_ route: Route?, address: UInt64, data: UInt32) throws(OperationError) -> Route {
    try routes.set(route, address: address, data: data)
  }

  /// Parks a route. Another vector may reuse its GSI if the table is full.
  public func parkRoute(_ route: Route) { routes.park(route) }

  /// Frees a route.
  public func releaseRoute(_ route: Route) { routes.release(route) }

  /// Connects an eventfd to an edge-triggered GSI (KVM_IRQFD).
  public func connect(event: Int32, to gsi: UInt32) throws(OperationError) {
    do throws(KernelError) { try machine.connect(event: event, toInterrupt: gsi) } catch {
      throw OperationError(error)
    }
  }

  /// Connects an eventfd to a level-triggered GSI (KVM_IRQFD_FLAG_RESAMPLE).
  public func connect(event: Int32, toLevelGSI gsi: UInt32, resample: Int32) throws(OperationError) {
    do throws(KernelError) { try machine.connect(event: event, toLevelGSI: gsi, resample: resample) } catch {
      throw OperationError(error)
    }
  }

  /// Disconnects an eventfd from a GSI (KVM_IRQFD_FLAG_DEASSIGN).
  public func disconnect(event: Int32, from gsi: UInt32) throws(OperationError) {
    do throws(KernelError) { try machine.disconnect(event: event, fromInterrupt: gsi) } catch {
      throw OperationError(error)
    }
  }
}
