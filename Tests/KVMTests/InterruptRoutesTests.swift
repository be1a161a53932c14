// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import KVM

/// Skipped where this machine's KVM is not there or may not be used.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct InterruptRoutesTests {
  private let machine: VirtualMachine
  private let routes: InterruptRoutes

  init() throws {
    machine = try VirtualMachine(try System())
    routes = InterruptRoutes(machine)
  }

  private static let message = Message(address: 0xFEE0_0000, data: 0x31)

  @Test("messages have GSIs after the I/O APIC's pins, and one that was given back is used again")
  func numbers() throws {
    #expect([routes.allocate(), routes.allocate(), routes.allocate()] == [24, 25, 26])
    try routes.release(25)
    #expect(routes.allocate() == 25)
    #expect(routes.allocate() == 27)
  }

  @Test("the kernel is told of a route only when it is another one")
  func route() throws {
    let gsi = routes.allocate()
    #expect(try routes.route(gsi, to: Self.message))
    #expect(try !routes.route(gsi, to: Self.message))
    #expect(try routes.route(gsi, to: Message(address: 0xFEE0_0000, data: 0x32)))
    try routes.release(gsi)
    #expect(routes.allocate() == gsi)
    #expect(try routes.route(gsi, to: Message(address: 0xFEE0_0000, data: 0x32)), "it has gone with its GSI")
  }

  @Test("as many messages as a device with all of its vectors has can be routed")
  func many() throws {
    for vector in 0..<256 as Range<UInt32> {
      let gsi = routes.allocate()
      #expect(gsi == 24 + vector)
      try routes.route(gsi, to: Message(address: 0xFEE0_0000 | UInt64(vector) << 12, data: 0x31))
    }
  }

  @Test("an eventfd can be connected to a message's interrupt, and disconnected with its count kept")
  func connect() throws {
    let gsi = routes.allocate()
    try routes.route(gsi, to: Self.message)
    let event = try Event()
    try machine.connect(event: event.number, toInterrupt: gsi)
    try machine.disconnect(event: event.number, fromInterrupt: gsi)
    event.signal()
    #expect(try event.take() == 1)
  }
}
