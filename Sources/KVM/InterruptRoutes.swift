// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
internal import Synchronization

/// What a message-signalled interrupt writes where (PCI 3.0 §6.8).
public struct Message: Equatable, Hashable, Sendable {
  /// The address, which selects the CPU; 0xFEExxxxx on x86 (SDM vol. 3 §11.11).
  public var address: UInt64
  /// The data, which holds the vector.
  public var data: UInt32

  /// Makes a message of an address and its data.
  public init(address: UInt64, data: UInt32) {
    self.address = address
    self.data = data
  }
}

/// The machine's table of interrupt routes (KVM_SET_GSI_ROUTING): the irqchips' pins, fixed,
/// and one GSI for each message that a device may send.
public final class InterruptRoutes: Sendable {
  private let machine: VirtualMachine
  /// Taken by the thread that changes a vector, inside the lock of its function; nothing is
  /// locked inside it. KVM's table is replaced under it, so the newest always wins.
  private let table = Mutex(Table())

  private struct Table {
    var messages: [UInt32: Message] = [:]
    var free: [UInt32] = []
    var next = InterruptRoutes.firstMessage
  }

  /// The IOAPIC's pins are GSI 0 to 23; messages come after them.
  private static let pins: UInt32 = 24
  private static let firstMessage = pins

  /// Manages the routes of a machine.
  public init(_ machine: VirtualMachine) { self.machine = machine }

  /// Reserves a GSI for a message; it has no route yet.
  public func allocate() -> UInt32 {
    table.withLock { table in
      if let free = table.free.popLast() { return free }
      table.next += 1
      return table.next - 1
    }
  }

  /// Gives a GSI back together with its route.
  public func release(_ gsi: UInt32) throws(KernelError) {
    try table.withLock { table throws(KernelError) in
      table.free.append(gsi)
      if table.messages.removeValue(forKey: gsi) != nil { try commit(table) }
    }
  }

  /// Routes a GSI to a message; returns false where it was routed there already.
  @discardableResult
  public func route(_ gsi: UInt32, to message: Message) throws(KernelError) -> Bool {
    try table.withLock { table throws(KernelError) in
      guard table.messages[gsi] != message else { return false }
      table.messages[gsi] = message
      try commit(table)
      return true
    }
  }

  private func commit(_ table: borrowing Table) throws(KernelError) {
    var routes: [cl_route] = []
    routes.reserveCapacity(40 + table.messages.count)
    for pin in 0..<Self.pins {
      if pin < 16 {
        let chip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE
        routes.append(cl_route(gsi: pin, chip: Int32(chip), pin: pin % 8, data: 0, address: 0))
      }
      routes.append(
        cl_route(gsi: pin, chip: Int32(KVM_IRQCHIP_IOAPIC), pin: pin, data: 0, address: 0))
    }
    for (gsi, message) in table.messages {
      routes.append(
        cl_route(gsi: gsi, chip: -1, pin: 0, data: message.data, address: message.address))
    }
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe routes.withUnsafeBufferPointer { buffer in
      unsafe cl_kvm_set_routes(machine.descriptor.number, buffer.baseAddress, UInt32(buffer.count))
    }
    try check(result, "KVM_SET_GSI_ROUTING, \(routes.count) routes")
  }
}
