// SPDX-License-Identifier: Apache-2.0

import Boot
import Fakes
import Linux
import PCI
import Passthrough
import Synchronization
import TestTools
import Testing
import Trace

@testable import VMM

/// A whole VM to which a client of the control socket adds fake devices. Skipped if KVM is not usable.
@Suite(.enabled(if: FakeHost.hasKVM, "/dev/kvm is not usable here"), .serialized)
struct WholeAdditionTests {
  private static let one = "0000:00:18.0"
  private static let two = "0000:00:19.0"

  /// A guest that powers a slot on, releases its device when the button is pressed, and powers it on again.
  private static var obedient: GuestCode {
    var guest = GuestCode()
    guest.use(UInt32(PlatformLayout.ecam.lowerBound) | 1 << 15)
    for _ in 0..<2 {
      guest.wait(0x58, 0x40 << 16)  // present
      guest.store(0x58, 0)  // power on
      guest.wait(0x58, 1 << 16)  // the button
      guest.store(0x58, 0x40 << 16 | 0x1 << 16 | 0x400)  // the button is noticed; power off
    }
    guest.halt()
    return guest
  }

  private static func register(_ address: String) throws -> (device: FakeDevice, world: FakeWorld) {
    let world = FakeWorld()
    let device = try FakeDevice(FakeVM.shape(address), in: world)
    FakeHost.devices.withLock { $0[address] = (device, world) }
    return (device, world)
  }

  private static func forget() {
    FakeHost.devices.withLock { for address in [one, two] { $0[address] = nil } }
  }

  /// Sends a request with the facts about a device as its only descriptor.
  private static func send(
    _ client: LineClient, _ line: String, facts address: String
  ) throws {
    let facts = PassedDevice(address: try #require(Address(address)), group: "7")
    let memory = try SealedMemory.make("devices", Array((facts.line + "\n").utf8))
    try client.send(line, passing: [memory.number])
  }

  @Test("a client adds a device, replaces it by another one, and removes that")
  func replace() throws {
    defer { Self.forget() }
    let (first, second) = (try Self.register(Self.one), try Self.register(Self.two))
    let machine = try FakeVM([], Self.obedient, { $0.emptyPorts = 1 }, hasControl: true)
    let main = try machine.performOperations()
    let client = try LineClient(machine.controlPath)
    try Self.send(
      client, #"{"id":1,"op":"add","device":"\#(Self.one)","files":"devices"}"#, facts: Self.one)
    #expect(client.next() == #"{"id":1,"ok":1,"port":1}"#)
    #expect(machine.wait { machine.vm.ports[0].function?.address == Self.one && first.device.isOpen })
    try Self.send(
      client, #"{"id":2,"op":"replace","device":"\#(Self.one)","with":"\#(Self.two)","files":"devices"}"#,
      facts: Self.two)
    #expect(client.next() == #"{"id":2,"ok":1,"port":1}"#)
    #expect(!first.device.isOpen && second.device.isOpen && machine.vm.functions.map(\.address) == [Self.two])
    // The replacement waits until the guest notices it.
    #expect(machine.wait { machine.vm.ports[0].function?.address == Self.two })
    try client.send(#"{"id":3,"op":"remove","device":"\#(Self.two)"}"#)
    #expect(client.next() == #"{"id":3,"ok":1,"port":1}"#)
    #expect(!second.device.isOpen && machine.vm.functions.isEmpty)
    for world in [first.world, second.world] {
      #expect(
        world.state.withLock { $0.slots.isEmpty && $0.spaces.allSatisfy(\.isEmpty) && $0.violations.isEmpty })
    }
    machine.shutdown.end(.quit)
    main.join()
    #expect(machine.stop().1.isEmpty)
  }

  @Test("a device that waits for its insertion can be replaced")
  func replaceArriving() throws {
    defer { Self.forget() }
    let (_, second) = (try Self.register(Self.one), try Self.register(Self.two))
    let machine = try FakeVM([], Self.obedient, { $0.emptyPorts = 1 }, hasControl: true)
    let main = try machine.performOperations()
    let client = try LineClient(machine.controlPath)
    func replace(_ old: String, with new: String) throws {
      let line = #"{"id":2,"op":"replace","device":"\#(old)","with":"\#(new)","files":"devices"}"#
      try Self.send(client, line, facts: new)
      #expect(client.next() == #"{"id":2,"ok":1,"port":1}"#)
    }
    try Self.send(
      client, #"{"id":1,"op":"add","device":"\#(Self.one)","files":"devices"}"#, facts: Self.one)
    #expect(client.next() == #"{"id":1,"ok":1,"port":1}"#)
    try replace(Self.one, with: Self.two)
    // The port is quiet for a second and a half. On a busy machine, the guest has released the device already.
    #expect(second.device.isOpen)
    let again = try Self.register(Self.one)
    try replace(Self.two, with: Self.one)
    #expect(!second.device.isOpen && again.device.isOpen && machine.vm.functions.map(\.address) == [Self.one])
    #expect(machine.wait { machine.vm.ports[0].function?.address == Self.one })
    machine.shutdown.end(.quit)
    main.join()
    #expect(machine.stop().1.isEmpty && second.world.violations.isEmpty && again.world.violations.isEmpty)
  }

  @Test("a device that cannot replace another one leaves the VM as before")
  func refused() throws {
    defer { Self.forget() }
    let (first, second) = (try Self.register(Self.one), try Self.register(Self.two))
    let machine = try FakeVM([], Self.obedient, { $0.emptyPorts = 1 }, hasControl: true)
    let main = try machine.performOperations()
    let client = try LineClient(machine.controlPath)
    func refuse(_ line: String, facts: String, _ error: ControlError) throws {
      try Self.send(client, line, facts: facts)
      #expect(try ErrorReply(client.next()) == ErrorReply(error))
    }
    let add = #"{"id":1,"op":"add","device":"\#(Self.one)","files":"devices""#
    try refuse(add + #","port":2}"#, facts: Self.one, .noEmptyPort(device: Self.one, 2))
    try refuse(
      add + "}", facts: Self.two,
      .refused(Self.one, .descriptor(.foreign(try #require(Address(Self.two)), line: 1)), .add))
    try Self.send(client, add + "}", facts: Self.one)
    #expect(client.next() == #"{"id":1,"ok":1,"port":1}"#)
    try refuse(
      #"{"id":2,"op":"add","device":"\#(Self.two)","files":"devices"}"#, facts: Self.two,
      .noEmptyPort(device: Self.two, nil))
    let replace = #"{"id":3,"op":"replace","device":"\#(Self.one)","with":"\#(Self.two)","files":"devices"}"#
    second.world.fail("readAll")
    try Self.send(client, replace, facts: Self.two)
    #expect(try ErrorReply(client.next()).operation == "replace")
    #expect(first.device.isOpen && !second.device.isOpen && machine.vm.functions.map(\.address) == [Self.one])
    #expect(!machine.vm.ports[0].isLeaving)
    // A device that fails after the other one has left.
    let again = try Self.register(Self.two)
    again.world.fail("reset")
    try Self.send(client, replace, facts: Self.two)
    let reply = try ErrorReply(client.next())
    #expect(reply.cause?.hasSuffix("\(Self.one) has already left the VM") == true)
    #expect(!first.device.isOpen && !again.device.isOpen && machine.vm.functions.isEmpty)
    #expect(machine.vm.ports[0].isFree && machine.shutdown.outcome == nil)
    machine.shutdown.end(.quit)
    main.join()
    #expect(machine.stop().1.isEmpty)
  }
}
