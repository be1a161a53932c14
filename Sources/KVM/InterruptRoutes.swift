// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
public import Seams
internal import Synchronization

/// A VM's table of interrupt routes (KVM_SET_GSI_ROUTING): the fixed pins of the irqchips, and one GSI for
/// each vector that has a message.
///
/// Masking a vector parks its route, so that unmasking the vector does not change the table. If the table is
/// full, an unmasked vector reuses the GSI of a parked route.
public final class InterruptRoutes: Sendable {
  private let machine: VirtualMachine
  /// The number of messages that fit in the table.
  public let capacity: Int
  /// Shared by all assigned functions. Innermost in the lock order, inside the lock of the function that
  /// changes a vector. KVM's table is replaced under this lock, so that the newest table always wins.
  private let table: Mutex<Table>

  private struct Entry {
    /// The MSI message (PCI 3.0 §6.8).
    let address: UInt64
    let data: UInt32
    let ticket: UInt64
    var isParked = false
  }

  private struct Table {
    /// The messages, indexed by GSI minus ``InterruptRoutes/pins``; nil if the GSI is free.
    var entries: [Entry?] = []
    var free: [Int] = []
    var nextTicket: UInt64 = 0
  }

  /// The pins of the I/O APIC are GSI 0 to 23. Messages use the GSIs after them.
  private static let pins = 24
  /// The number of routes of the pins. Each of the first 16 pins has a route to a PIC and one to the I/O
  /// APIC.
  private static let pinRoutes = 40

  /// Creates a table without messages for a VM.
  ///
  /// - Parameters:
  ///   - machine: The VM.
  ///   - limit: The maximum number of routes of the VM; see ``KVMSystem/routeCount``.
  public init(_ machine: VirtualMachine, limit: Int) {
    self.machine = machine
    // KVM_SET_GSI_ROUTING refuses more routes than `limit`, and GSIs from `limit` on (virt/kvm/irqchip.c).
    capacity = max(0, limit - Self.pinRoutes)
    table = Mutex(Table())
  }

  /// The number of messages in the table, including parked routes.
  public var count: Int { table.withLock { $0.entries.count - $0.free.count } }

  /// Routes a vector's message to a GSI.
  ///
  /// - Parameters:
  ///   - route: The vector's current route, which may be parked; nil if it has none.
  ///   - address: The address of the MSI message, in the guest's physical address space.
  ///   - data: The data of the MSI message.
  /// - Returns: The vector's new route.
  /// - Throws: An error of KVM_SET_GSI_ROUTING, or an error if the table is full. The table is then
  ///   unchanged.
  public func set(_ route: Route?, address: UInt64, data: UInt32) throws(OperationError) -> Route {
    try table.withLock { table throws(OperationError) in
      let old = Self.index(of: route, in: table)
      let index = if let old { old } else { try allocate(in: &table) }
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

  /// Parks a route to which no eventfd is connected. Another vector may reuse its GSI if the table is full.
  public func park(_ route: Route) {
    table.withLock { table in
      if let index = Self.index(of: route, in: table) { table.entries[index]?.isParked = true }
    }
  }

  /// Frees a route to which no eventfd is connected. KVM's table keeps the route until its next change. This
  /// is harmless, because nothing raises the GSI.
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

  private func allocate(in table: inout Table) throws(OperationError) -> Int {
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
