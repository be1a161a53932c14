// SPDX-License-Identifier: Apache-2.0

import Glibc
import GuestMemory
import Linux
import Seams
import Testing

@testable import KVM

/// Interrupts as the guest's interrupt controllers receive them. Skipped if this machine has no KVM or does
/// not permit its use.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct InterruptDeliveryTests {
  private static let localAPIC: UInt32 = 0xFEE0_0000
  private static let ioAPIC: UInt32 = 0xFEC0_0000

  /// Code that enables the local APIC and maps the pins of the I/O APIC to vectors 0x40 and following.
  private static let setUp: [UInt8] =
    TinyGuest.store(localAPIC + 0xF0, 0x1FF)
    + (0..<24).flatMap { pin in
      TinyGuest.store(ioAPIC, 0x10 + pin * 2) + TinyGuest.store(ioAPIC + 0x10, 0x40 + pin)
    }

  /// Code that repeatedly reports the requests of the PICs and of vectors 0x40 to 0x7F.
  private static let report: [UInt8] = {
    var code: [UInt8] = []
    for port in [0x20, 0xA0] as [UInt8] {
      code += TinyGuest.set(0x0A) + [0xE6, port, 0xE4, port] + TinyGuest.out(port)  // out; in al; report
    }
    code += TinyGuest.load(localAPIC + 0x220) + TinyGuest.out(0x22)
    code += TinyGuest.load(localAPIC + 0x230) + TinyGuest.out(0x23)
    return code
  }()

  private final class Machine {
    let guest: TinyGuest
    let resources: MachineResources
    let routes: InterruptRoutes

    init() throws {
      let code = InterruptDeliveryTests.setUp
      let report = InterruptDeliveryTests.report
      // jmp to the start of the report; the jmp has five bytes
      let back = [0xE9] + TinyGuest.bytes(UInt32(truncatingIfNeeded: -(report.count + 5)))
      guest = try TinyGuest(code + report + back)
      routes = InterruptRoutes(guest.machine, limit: try KVMSystem().routeCount)
      resources = MachineResources(
        guest.machine, slots: MemorySlots(guest.machine, limit: 32, reserved: 1), routes: routes)
      // The guest sets up its interrupt controllers before any interrupt is raised.
      _ = try value(of: 0x23)
    }

    /// Returns the guest's next report under a port.
    func value(of port: UInt64) throws -> UInt64 {
      for _ in 0..<100 {
        guard case .port(let access) = guest.cpu.run() else { continue }
        if !access.isWrite {
          access.complete(0)
        } else if access.address == port {
          return access.value()
        }
      }
      throw OperationError("the guest does not report")
    }

    /// Waits until a bit is set. KVM raises pins from another thread.
    func wait(_ port: UInt64, bit: Int) throws -> Bool {
      for _ in 0..<10_000 {
        if try value(of: port) >> UInt64(bit) & 1 == 1 { return true }
      }
      return false
    }
  }

  private func raise(_ number: Int32) throws {
    var one: UInt64 = 1
    // SAFETY: the number lives for the call.
    try #require(unsafe Glibc.write(number, &one, 8) == 8)
  }

  @Test(
    "a pin of the I/O APIC raises its vector if messages also have routes", arguments: [1, 4, 16, 23])
  func pins(_ pin: UInt32) throws {
    let machine = try Machine()
    _ = try machine.routes.set(nil, address: 0xFEE0_0000, data: 0x61)
    let event = try machine.resources.makeEventFD()
    try machine.resources.connect(event: event.number, to: pin)
    try raise(event.number)
    #expect(try machine.wait(0x22, bit: Int(pin)))
    // Pins 0 and 2 belong to the timer.
    #expect(try machine.value(of: 0x22) & ~0b101 == 1 << UInt64(pin))
  }

  @Test("the first 16 pins also raise the PICs", arguments: [1, 4, 7, 8, 9, 15])
  func legacyPins(_ pin: UInt32) throws {
    let machine = try Machine()
    _ = try machine.routes.set(nil, address: 0xFEE0_0000, data: 0x61)
    let event = try machine.resources.makeEventFD()
    try machine.resources.connect(event: event.number, to: pin)
    try raise(event.number)
    let port: UInt64 = pin < 8 ? 0x20 : 0xA0
    #expect(try machine.wait(port, bit: Int(pin % 8)))
    #expect(try machine.value(of: 0x20) & 0xFA == (pin < 8 ? 1 << UInt64(pin) : 0), "except timer and slave")
    #expect(try machine.value(of: 0xA0) & 0xFF == (pin < 8 ? 0 : 1 << UInt64(pin - 8)))
  }

  @Test("a guest that ignores the PICs gets no interrupt from them", arguments: [1, 4, 5, 8, 9, 15])
  func maskedPICs(_ pin: UInt32) throws {
    // Pin `pin`: vector 0x40. The local APIC keeps the LINT0 of its reset, which accepts the PICs.
    var code = TinyGuest.store(Self.localAPIC + 0xF0, 0x1FF)
    code += TinyGuest.store(Self.ioAPIC, 0x10 + pin * 2) + TinyGuest.store(Self.ioAPIC + 0x10, 0x40)
    code += [0xBC] + TinyGuest.bytes(0x8000) + [0xFB]  // mov esp, 0x8000; sti
    code += TinyGuest.out(0x10) + [0xEB, 0xFC]  // 1: out 0x10, eax; jmp 1b
    let guest = try TinyGuest(code) { $0.idt = .init(base: 0x4000, limit: 0x7FF) }
    // Interrupt gates at selector 0x10: offset 0x2000 for the I/O APIC, 0x2100 for the vectors of PICs after reset.
    try guest.memory.write(TinyGuest.out(0x12) + TinyGuest.out(0xFF), at: GuestAddress(0x2000))
    try guest.memory.write(TinyGuest.out(0x11) + TinyGuest.out(0xFF), at: GuestAddress(0x2100))
    try guest.memory.store(0x0000_8E00_0010_2000 as UInt64, at: GuestAddress(0x4000 + 0x40 * 8))
    for vector in 0..<16 as Range<UInt64> {
      try guest.memory.store(0x0000_8E00_0010_2100 as UInt64, at: GuestAddress(0x4000 + vector * 8))
    }
    let event = try EventFD()
    try guest.machine.connect(event: event.number, toInterrupt: pin)
    guard case .port = guest.cpu.run() else { throw OperationError("the guest does not start") }
    try raise(event.number)
    #expect(try guest.run().map(\.port).filter { $0 != 0x10 } == [0x12])
  }

  @Test("an eventfd raises the current message of its route, and none after it is disconnected")
  func messages() throws {
    let machine = try Machine()
    let event = try machine.resources.makeEventFD()
    let other = try machine.resources.setRoute(nil, address: 0xFEE0_0000, data: 0x70)
    var route = try machine.resources.setRoute(nil, address: 0xFEE0_0000, data: 0x61)
    try machine.resources.connect(event: event.number, to: route.gsi)
    try raise(event.number)
    #expect(try machine.wait(0x23, bit: 1))
    route = try machine.resources.setRoute(route, address: 0xFEE0_0000, data: 0x62)
    try raise(event.number)
    #expect(try machine.wait(0x23, bit: 2))
    #expect(try machine.value(of: 0x23) == 0b110)
    try machine.resources.disconnect(event: event.number, from: route.gsi)
    machine.resources.parkRoute(route)
    try raise(event.number)
    #expect(try event.isSignaled() && event.take() == 1 && !event.isSignaled())
    machine.resources.releaseRoute(other)
    #expect(machine.routes.count == 1)
  }

  @Test("a new route reuses a parked route through the machine's resources")
  func parked() throws {
    let guest = try TinyGuest([])
    let resources = MachineResources(
      guest.machine, slots: MemorySlots(guest.machine, limit: 4, reserved: 1),
      routes: InterruptRoutes(guest.machine, limit: 41))
    let first = try resources.setRoute(nil, address: 0xFEE0_0000, data: 1)
    #expect(throws: OperationError.self) { try resources.setRoute(nil, address: 0xFEE0_0000, data: 2) }
    resources.parkRoute(first)
    let second = try resources.setRoute(nil, address: 0xFEE0_0000, data: 2)
    #expect(second.gsi == first.gsi && second != first)
    resources.releaseRoute(second)
    _ = try resources.setRoute(nil, address: 0xFEE0_0000, data: 3)
  }

  @Test("a memory slot serves the guest until it is removed, and its number is reused")
  func slots() throws {
    // eax = [0xd0000000]; out; twice, with an exit between them
    let read = TinyGuest.load(0xD000_0000) + TinyGuest.out(0x10)
    let guest = try TinyGuest(read + read)
    let resources = MachineResources(
      guest.machine, slots: MemorySlots(guest.machine, limit: 4, reserved: 1),
      routes: InterruptRoutes(guest.machine, limit: 64))
    #expect(resources.slotCapacity == 3)
    let page = try GuestMemory(size: 4096)
    try page.store(0x600D_F00D as UInt32, at: GuestAddress(0))
    let slot = try resources.addSlot(at: 0xD000_0000, size: 4096, host: page.regions[0].hostAddress)
    guard case .port(let access) = guest.cpu.run() else { throw OperationError("the access is trapped") }
    let value = access.value()
    #expect(value == 0x600D_F00D)
    try resources.removeSlot(slot)
    guard case .memory(let trapped) = guest.cpu.run() else { throw OperationError("access is not trapped") }
    #expect(TinyGuest.Seen(trapped) == .init(0xD000_0000, width: 4, isWrite: false))
    #expect(try resources.addSlot(at: 0xD000_0000, size: 4096, host: page.regions[0].hostAddress) == slot)
  }

  @Test("a level-triggered GSI stays asserted until the end of interrupt, which signals the resample eventfd")
  func line() throws {
    var code = TinyGuest.store(Self.localAPIC + 0xF0, 0x1FF)
    // Pin 16: vector 0x50, level-triggered.
    code += TinyGuest.store(Self.ioAPIC, 0x10 + 32) + TinyGuest.store(Self.ioAPIC + 0x10, 0x8050)
    code += [0xBC] + TinyGuest.bytes(0x8000) + [0xFB]  // mov esp, 0x8000; sti
    code += TinyGuest.out(0x10) + [0xEB, 0xFC]  // 1: out 0x10, eax; jmp 1b
    let guest = try TinyGuest(code) { $0.idt = .init(base: 0x4000, limit: 0x7FF) }
    // The handler ends the interrupt and the guest.
    try guest.memory.write(
      TinyGuest.out(0x11) + TinyGuest.store(Self.localAPIC + 0xB0, 0) + TinyGuest.out(0xFF),
      at: GuestAddress(0x2000))
    // An interrupt gate: offset 0x2000, selector 0x10.
    try guest.memory.store(0x0000_8E00_0010_2000 as UInt64, at: GuestAddress(0x4000 + 0x50 * 8))
    let resources = MachineResources(
      guest.machine, slots: MemorySlots(guest.machine, limit: 4, reserved: 1),
      routes: InterruptRoutes(guest.machine, limit: 64))
    let (trigger, resample) = (try resources.makeEventFD(), try resources.makeEventFD())
    try resources.connect(event: trigger.number, toLevelGSI: 16, resample: resample.number)
    guard case .port = guest.cpu.run() else { throw OperationError("the guest does not start") }
    try raise(trigger.number)
    #expect(try guest.run().map(\.port).filter { $0 != 0x10 } == [0x11])
    #expect(try resample.isSignaled() && resample.take() == 1)
    try resources.disconnect(event: trigger.number, from: 16)
    try raise(trigger.number)
    #expect(try trigger.isSignaled() && !resample.isSignaled())
  }
}
