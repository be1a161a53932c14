// SPDX-License-Identifier: Apache-2.0

import Linux
import Seams
import Testing

@testable import KVM

/// Skipped if this machine has no KVM or does not permit its use.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct InterruptRoutesTests {
  private let machine: VirtualMachine
  private let limit: Int

  init() throws {
    let system = try KVMSystem()
    machine = try KVMDevice.machine(system)
    limit = system.routeCount
  }

  private var routes: InterruptRoutes { InterruptRoutes(machine, limit: limit) }

  @Test("messages get GSIs after the I/O APIC's pins, and a released GSI is reused")
  func numbers() throws {
    let routes = routes
    var all: [Route] = []
    for number in 0..<3 { all.append(try routes.set(nil, address: 0xFEE0_0000, data: UInt32(number))) }
    #expect(all.map(\.gsi) == [24, 25, 26])
    routes.release(all[1])
    #expect(routes.count == 2)
    #expect(try routes.set(nil, address: 0xFEE0_0000, data: UInt32(9)).gsi == 25)
    #expect(try routes.set(nil, address: 0xFEE0_0000, data: UInt32(9)).gsi == 27)
  }

  @Test("a vector keeps its route when its message changes and after parking")
  func same() throws {
    let routes = routes
    let route = try routes.set(nil, address: 0xFEE0_0000, data: UInt32(1))
    #expect(try routes.set(route, address: 0xFEE0_0000, data: UInt32(2)) == route)
    routes.park(route)
    #expect(try routes.set(route, address: 0xFEE0_0000, data: UInt32(2)) == route)
    #expect(routes.count == 1)
  }

  @Test("a released route has no owner: its former owner gets another route")
  func stale() throws {
    let routes = routes
    let old = try routes.set(nil, address: 0xFEE0_0000, data: UInt32(1))
    routes.release(old)
    let new = try routes.set(nil, address: 0xFEE0_0000, data: UInt32(2))
    #expect(new.gsi == old.gsi && new != old)
    routes.release(old)
    routes.park(old)
    #expect(routes.count == 1, "the former owner frees nothing")
    #expect(try routes.set(old, address: 0xFEE0_0000, data: UInt32(3)).gsi == 25)
  }

  @Test("the kernel accepts the reported number of routes, and one more is an error that changes nothing")
  func full() throws {
    let routes = routes
    #expect(routes.capacity == limit - 40)
    // Each change makes the kernel build the whole table. A few entries are enough to test its end.
    let few = InterruptRoutes(machine, limit: 40 + 3)
    var all: [Route] = []
    for number in 0..<3 { all.append(try few.set(nil, address: 0xFEE0_0000, data: UInt32(number))) }
    let error = #expect(throws: OperationError.self) {
      try few.set(nil, address: 0xFEE0_0000, data: UInt32(3))
    }
    #expect(error?.description == "all 3 interrupt routes of the VM are in use")
    #expect(few.count == 3)
    #expect(
      try few.set(all[0], address: 0xFEE0_0000, data: UInt32(4)) == all[0], "an existing route can be changed"
    )
    few.release(all[1])
    #expect(try few.set(nil, address: 0xFEE0_0000, data: UInt32(3)).gsi == 25)
  }

  @Test("a vector reuses a parked route when the table is full, and the former owner gets another route")
  func evicted() throws {
    let few = InterruptRoutes(machine, limit: 40 + 2)
    let first = try few.set(nil, address: 0xFEE0_0000, data: UInt32(0))
    let second = try few.set(nil, address: 0xFEE0_0000, data: UInt32(1))
    few.park(first)
    let third = try few.set(nil, address: 0xFEE0_0000, data: UInt32(2))
    #expect(third.gsi == first.gsi && third != first)
    #expect(throws: OperationError.self) { try few.set(first, address: 0xFEE0_0000, data: UInt32(0)) }
    few.park(second)
    #expect(try few.set(first, address: 0xFEE0_0000, data: UInt32(0)).gsi == second.gsi)
    #expect(few.count == 2)
  }

  @Test("a route that the kernel refuses is not in the table")
  func refused() throws {
    // One route more than the kernel accepts.
    let routes = InterruptRoutes(machine, limit: limit + 1)
    var last: Route?
    for number in 0..<limit - 40 {
      last = try routes.set(nil, address: 0xFEE0_0000, data: UInt32(number & 0xFF))
    }
    let error = #expect(throws: OperationError.self) {
      try routes.set(nil, address: 0xFEE0_0000, data: UInt32(1))
    }
    #expect(
      error
        == OperationError(KernelError("KVM_SET_GSI_ROUTING, \(limit + 1) routes", errno: KernelError.invalid))
    )
    #expect(routes.count == limit - 40)
    let freed = try #require(last)
    routes.release(freed)
    _ = try routes.set(nil, address: 0xFEE0_0000, data: UInt32(2))
    #expect(routes.count == limit - 40)
  }

  @Test("256 messages of a device can be routed")
  func many() throws {
    let routes = routes
    for vector in 0..<256 {
      let route = try routes.set(nil, address: 0xFEE0_0000 | UInt64(vector) << 12, data: 0x31)
      #expect(route.gsi == UInt32(24 + vector))
    }
  }

  @Test("an eventfd connects to a message's interrupt, and keeps its count when it is disconnected")
  func connect() throws {
    let route = try routes.set(nil, address: 0xFEE0_0000, data: UInt32(0x31))
    let event = try EventFD()
    try machine.connect(event: event.number, toInterrupt: route.gsi)
    try machine.disconnect(event: event.number, fromInterrupt: route.gsi)
    event.signal()
    #expect(try event.take() == 1)
  }
}
