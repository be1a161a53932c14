// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
public import Seams
internal import Synchronization

/// The machine's table of interrupt routes (KVM_SET_GSI_ROUTING): the fixed pins of the irqchips, and one GSI
/// for each vector that has a message.
///
/// A vector that is masked parks its route: unmasking it needs no change of the table. If the table is full, a
/// vector that is unmasked takes over a parked one.
public final class InterruptRoutes: Sendable {
  private let machine: VirtualMachine
  /// Number of messages that have room in the table.
  public let capacity: Int
  /// Owner: all assigned functions. Innermost in the lock order, inside the lock of the function that changes a
  /// vector. KVM's table is replaced under it, so the newest always wins.
  private let table: Mutex<Table>

  private struct Entry {
    /// The MSI message (PCI 3.0 §6.8).
    let address: UInt64
    let data: UInt32
    let ticket: UInt64
    var isParked = false
  }

  private struct Table {
    /// By GSI, from ``InterruptRoutes/pins`` on; nil if free.
    var entries: [Entry?] = []
    var free: [Int] = []
    var nextTicket: UInt64 = 0
  }

  /// The I/O APIC's pins are GSI 0 to 23; messages come after them.
  private static let pins = 24
  /// Routes of the pins: the first 16 lead to a PIC and to the I/O APIC.
  private static let pinRoutes = 40

  /// Manages the routes of a machine.
  ///
  /// - Parameter limit: Number of routes that the machine may have, see ``KVMSystem/routeCount``.
  public init(_ machine: VirtualMachine, limit: Int) {
    self.machine = machine
    // KVM_SET_GSI_ROUTING refuses more routes, and GSIs from this number on (virt/kvm/irqchip.c).
    capacity = max(0, limit - Self.pinRoutes)
    table = Mutex(Table())
  }

  /// Number of messages in the table, parked ones included.
  public var count: Int { table.withLock { $0.entries.count - $0.free.count } }

  /// Routes a message to a GSI of the vector.
  ///
  /// - Parameter route: The vector's route so far, which may have been parked; nil if it has none.
  /// - Returns: The vector's route from now on.
  /// - Throws: An error of KVM_SET_GSI_ROUTING, or that the table is full. The table is unchanged then.
  public func set(_ route: Route?, address: UInt64, data: UInt32) throws(OperationError) -> Route {
    try table.withLock { table throws(OperationError) in
      let old = Self.index(of: route, in: table)
      let index = if let old { old } else { try room(&table) }
      let before = table.entries[index]
      let ticket = old == nil ? table.nextTicket : before?.ticket ?? 0
      table.entries[index] = Entry(address: address, data: data, ticket: ticket)
      if old == nil || before?.address != address || before?.data != data {
        do throws(OperationError) { try commit(table) } catch {
          table.entries[index] = before
          if before == nil { table.free.append(index) }
          throw error
        }
      }
      if old == nil { table.nextTicket += 1 }
      return Route(gsi: UInt32(index + Self.pins), ticket: ticket)
    }
  }

  /// Lets another vector take over the route if the table is full. No event is connected to it.
  public func park(_ route: Route) {
    table.withLock { table in
      if let index = Self.index(of: route, in: table) { table.entries[index]?.isParked = true }
    }
  }

  /// Frees a route to which no event is connected. KVM's table keeps it until its next change, which is harmless:
  /// nothing raises its GSI.
  public func release(_ route: Route) {
    table.withLock { table in
      guard let index = Self.index(of: route, in: table) else { return }
      table.entries[index] = nil
      table.free.append(index)
    }
  }

  private static func index(of route: Route?, in table: borrowing Table) -> Int? {
    guard let route else { return nil }
    let index = Int(route.gsi) - pins
    return table.entries[index]?.ticket == route.ticket ? index : nil
  }

  private func room(_ table: inout Table) throws(OperationError) -> Int {
    if let free = table.free.popLast() { return free }
    if table.entries.count < capacity {
      table.entries.append(nil)
      return table.entries.count - 1
    }
    if let parked = table.entries.firstIndex(where: { $0?.isParked == true }) { return parked }
    throw OperationError("all \(capacity) interrupt routes of the VM are in use")
  }

  private func commit(_ table: borrowing Table) throws(OperationError) {
    var routes: [cl_route] = []
    routes.reserveCapacity(Self.pinRoutes + table.entries.count)
    for pin in 0..<UInt32(Self.pins) {
      if pin < 16 {
        let chip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE
        routes.append(cl_route(gsi: pin, chip: Int32(chip), pin: pin % 8, data: 0, address: 0))
      }
      routes.append(
        cl_route(gsi: pin, chip: Int32(KVM_IRQCHIP_IOAPIC), pin: pin, data: 0, address: 0))
    }
    for index in table.entries.indices {
      guard let entry = table.entries[index] else { continue }
      routes.append(
        cl_route(
          gsi: UInt32(index + Self.pins), chip: -1, pin: 0, data: entry.data, address: entry.address))
    }
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe routes.withUnsafeBufferPointer { buffer in
      unsafe cl_kvm_set_routes(machine.descriptor.number, buffer.baseAddress, UInt32(buffer.count))
    }
    do throws(KernelError) { try check(result, "KVM_SET_GSI_ROUTING, \(routes.count) routes") } catch {
      throw OperationError(error)
    }
  }
}
