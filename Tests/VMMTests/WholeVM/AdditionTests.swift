// SPDX-License-Identifier: Apache-2.0

import Boot
import Fakes
import Foundation
import PCI
import Passthrough
import Seams
import Synchronization
import TestTools
import Testing

@testable import VMM

/// A whole VM to which fake devices are added while the guest runs on this machine's KVM.
@Suite(.enabled(if: FakeHost.hasKVM, "/dev/kvm is not usable here"), .serialized)
struct AdditionTests {
  private static let port = UInt32(PlatformLayout.ecam.lowerBound) | 1 << 15
  private static let function = UInt32(PlatformLayout.ecam.lowerBound) | 1 << 20
  private static let bar = UInt32(PlatformLayout.pciWindow32.lowerBound)
  /// Slot Control and Slot Status.
  private static let slot: UInt32 = 0x58
  private static let powerOff: UInt32 = 0x400
  private static let present: UInt32 = 0x40 << 16

  private static func register(_ address: String) throws -> (device: FakeDevice, world: FakeWorld) {
    let world = FakeWorld()
    let device = try FakeDevice(FakeVM.shape(address), in: world)
    FakeHost.devices.withLock { $0[address] = (device, world) }
    return (device, world)
  }

  @Test("a device is added to an empty port, used and ejected, and nothing of it stays", arguments: [1, 3])
  func cycle(_ count: Int) throws {
    var guest = GuestCode()
    for _ in 0..<count {
      guest.use(Self.port)
      guest.wait(Self.slot, Self.present)
      guest.store(Self.slot, 0)
      guest.store(4, 6)
      guest.use(Self.function)
      guest.load(0)
      guest.expect(0x1111_2222)
      guest.store(0x10, Self.bar)
      guest.store(4, 6)
      guest.use(Self.bar)
      guest.store(0x10, 0xAABB_CCDD)
      guest.load(0x10)
      guest.expect(0xAABB_CCDD)
      guest.use(Self.port)
      guest.store(Self.slot, Self.powerOff)
    }
    guest.halt()
    let machine = try FakeVM([], guest) { $0.emptyPorts = 1 }
    for index in 0..<count {
      let address = "0000:0\(index + 1):00.0"
      let (device, world) = try Self.register(address)
      defer { FakeHost.devices.withLock { $0[address] = nil } }
      #expect(try machine.add(address) == 1)
      let arrivals = try machine.vm.population.takeArrivals()
      #expect(arrivals.map(\.number) == [index] && machine.vm.functions.count == 1)
      #expect(world.state.withLock { $0.spaces.contains { !$0.isEmpty } }, "guest RAM is mapped")
      #expect(
        machine.wait {
          machine.vm.act(at: .max)
          return machine.vm.ports[0].isFree
        }, "\(String(describing: machine.vm.status.outcome))")
      #expect(device.peek(bar: 0, 0x10) == 0xAABB_CCDD)
      // The hotplug thread returns the device.
      #expect(machine.wait { !device.isOpen && machine.vm.functions.isEmpty })
      #expect(machine.wait { world.state.withLock { $0.spaces.allSatisfy(\.isEmpty) } })
      #expect(world.state.withLock { $0.slots.isEmpty && $0.spaces.allSatisfy(\.isEmpty) })
      #expect(world.state.withLock { $0.connected.isEmpty && $0.violations.isEmpty })
    }
    #expect(machine.vm.status.outcome == nil)
    machine.shutdown.end(.quit)
    #expect(machine.stop().1.isEmpty)
  }

  @Test("the last device leaves while guest RAM is being pinned: nothing of it stays after that")
  func leavesEarly() throws {
    var guest = GuestCode()
    guest.use(Self.port)
    guest.store(Self.slot, 0)
    guest.store(Self.slot, Self.powerOff)
    guest.halt()
    let mayPin = DispatchSemaphore(value: 0)
    let machine = try FakeVM(
      [FakeVM.shape("0000:01:00.0")], guest, { $0.devices[0].hasPort = true },
      prepare: { world in
        world.whileMapping { _ in
          mayPin.wait()
          mayPin.signal()
        }
      })
    #expect(
      machine.wait {
        machine.vm.act(at: .max)
        return !machine.device.isOpen
      })
    let (address, backend) = (machine.device.address, try #require(machine.vm.builder.devices.backend))
    // The hotplug thread keeps the group.
    usleep(20_000)
    #expect(backend.has(address))
    mayPin.signal()
    #expect(machine.wait { !backend.has(address) })
    #expect(machine.world.state.withLock { $0.spaces.allSatisfy(\.isEmpty) })
    machine.shutdown.end(.quit)
    #expect(machine.stop().1.isEmpty)
  }

  @Test("a device that cannot be added leaves the VM as before")
  func refused() throws {
    var guest = GuestCode()
    guest.halt()
    let machine = try FakeVM([], guest) { $0.emptyPorts = 1 }
    let (device, world) = try Self.register("0000:01:00.0")
    defer { FakeHost.devices.withLock { $0["0000:01:00.0"] = nil } }
    #expect(throws: RunError.self) { try machine.add("0000:09:00.0") }
    #expect(machine.vm.functions.isEmpty && machine.vm.ports[0].isFree)
    #expect(throws: ControlError.noDevice("0000:01:00.0", .inject)) {
      try machine.vm.inject(.fatal, "0000:01:00.0")
    }
    // The function cannot be created after guest RAM has been mapped.
    world.fail("readAll")
    #expect(throws: RunError.self) { try machine.add("0000:01:00.0") }
    #expect(world.state.withLock { $0.spaces.count == 1 && $0.spaces[0].isEmpty })
    #expect(machine.vm.functions.isEmpty && machine.vm.ports[0].isFree && !device.isOpen)
    world.fail { _, _ in nil }
    let (again, next) = try Self.register("0000:01:00.0")
    try machine.add("0000:01:00.0")
    try machine.vm.inject(.correctable, "0000:01:00.0")
    let device0 = Configuration.AssignedDevice(address: try #require(Address("0000:01:00.0")), hasPort: true)
    #expect(throws: RunError.host(.alreadyAdded("0000:01:00.0"))) {
      try machine.vm.hotplug.open(device0, for: machine.vm.ports[0], files: HostFiles())
    }
    // The end of the VM returns the device.
    machine.shutdown.end(.quit)
    #expect(machine.stop().1.isEmpty && !again.isOpen)
    #expect(next.state.withLock { $0.violations.isEmpty && $0.slots.isEmpty })
  }
}
