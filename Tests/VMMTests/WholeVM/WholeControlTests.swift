// SPDX-License-Identifier: Apache-2.0

import Boot
import Dispatch
import Fakes
import Linux
import PCI
import Passthrough
import Seams
import Synchronization
import TestTools
import Testing
import Trace

@testable import VMM

/// A whole VM with a control socket and fake devices. A thread of the test is the main thread. Skipped if KVM is not
/// usable.
@Suite(.enabled(if: FakeHost.hasKVM, "/dev/kvm is not usable here"), .serialized)
struct WholeControlTests {
  private static let doorbell: UInt32 = 0x3000

  /// A guest that opens a window of the device in PCI slot 1, and waits until the device reads all-ones there.
  private static var waiting: GuestCode {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 4, 2)
    guest.readConfig(slot: 1, 0x10)
    guest.useBAR()
    guest.store(doorbell, 1)
    guest.load(doorbell)
    guest.wait(doorbell, 2)
    guest.halt()
    return guest
  }

  private func machine(
    _ addresses: [String], _ guest: GuestCode = waiting, prepare: (FakeWorld) -> Void = { _ in }
  ) throws -> FakeVM {
    try FakeVM(addresses.map { FakeVM.shape($0) }, guest, hasControl: true, prepare: prepare)
  }

  private func object(_ line: String?) throws -> FlatObject {
    let line = try #require(line)
    return try #require(FlatObject(line[...]))
  }

  @Test("status, events, remove and stop act on a running VM, and the events end with the VM")
  func all() throws {
    let machine = try machine(["0000:00:15.0", "0000:00:16.0"])
    let main = try machine.performOperations()
    #expect(machine.wait { machine.device.peek(bar: 0, UInt64(Self.doorbell)) == 1 && machine.slots == 1 })
    let (client, events) = (try LineClient(machine.controlPath), try LineClient(machine.controlPath))
    try events.send(#"{"id":"e","op":"events"}"#)
    #expect(events.next() == #"{"id":"e","ok":1}"#)

    func status() throws -> FlatObject {
      try client.send(#"{"id":1,"op":"status"}"#)
      return try object(client.next())
    }
    let before = try status()
    #expect(before.strings["state"] == "running" && before.strings["outcome"] == nil)
    #expect(before.numbers["vcpus"] == "1" && before.numbers["memory"] == "\(16 << 20)")
    #expect(before.numbers["devices"] == "2" && before.strings["device1"] == "0000:00:16.0")
    #expect(before.strings["device0.state"] == "present" && before.numbers["device0.opened"] == "1")

    try client.send(#"{"id":2,"op":"remove","device":"0000:00:15.0"}"#)
    #expect(client.next() == #"{"id":2,"ok":1}"#)
    #expect(!machine.device.isOpen && machine.devices[1].isOpen)
    let after = try status()
    #expect(after.strings["device0.state"] == "released" && after.strings["device1.state"] == "present")
    for (device, error) in [
      ("0000:00:15.0", ControlError.released(device: "0000:00:15.0", .remove)),
      ("0000:00:17.0", ControlError.noDevice("0000:00:17.0", .remove)),
    ] {
      try client.send(#"{"id":3,"op":"remove","device":"\#(device)"}"#)
      #expect(try ErrorReply(client.next()) == ErrorReply(error))
    }

    try client.send(#"{"id":4,"op":"stop"}"#)
    #expect(client.next() == #"{"id":4,"ok":1}"#)
    #expect(machine.wait { machine.shutdown.isOver })
    main.join()
    let (outcome, failures) = machine.stop()
    #expect(outcome == .quit && failures.isEmpty && machine.worlds.allSatisfy(\.violations.isEmpty))
    var seen: [TraceEvent] = []
    while let line = events.next() { seen.append(try #require(TraceRecord(line[...])).event) }
    #expect(events.isClosed && client.waitForEnd())
    let reasons = seen.compactMap { event -> TraceEvent.WindowReason? in
      if case .gate(_, _, _, let why, _) = event { why } else { nil }
    }
    #expect(reasons.contains(.release))
    #expect(seen.contains { if case .loss("0000:00:15.0", .released, _) = $0 { true } else { false } })
    #expect(seen.last == .phase(name: "devices-handed-back"))
  }

  @Test("during a reset of a removed device, other clients receive replies, and the device is busy")
  func busy() throws {
    let hasBegun = DispatchSemaphore(value: 0)
    let isOver = DispatchSemaphore(value: 0)
    let count = Atomic<Int>(0)
    let machine = try machine(["0000:00:15.0"]) { world in
      world.whileResetting {
        // The first reset is at the start.
        guard count.add(1, ordering: .relaxed).newValue == 2 else { return }
        hasBegun.signal()
        isOver.wait()
      }
    }
    let main = try machine.performOperations()
    #expect(machine.wait { machine.device.peek(bar: 0, UInt64(Self.doorbell)) == 1 })
    let (one, two) = (try LineClient(machine.controlPath), try LineClient(machine.controlPath))
    let remove = #"{"id":1,"op":"remove","device":"0000:00:15.0"}"#
    try one.send(remove)
    hasBegun.wait()
    try two.send(#"{"id":2,"op":"status"}"#)
    #expect(try object(two.next()).strings["device0.state"] == "leaving")
    try two.send(remove)
    #expect(try ErrorReply(two.next()) == ErrorReply(.busy(device: "0000:00:15.0", .remove)))
    isOver.signal()
    #expect(one.next() == #"{"id":1,"ok":1}"#)
    machine.shutdown.end(.quit)
    main.join()
    #expect(machine.stop().1.isEmpty)
  }

  /// Returns a VM with a control socket, and a device that has been added to its port.
  private static func machine(
    _ guest: GuestCode, _ address: String
  ) throws -> (FakeVM, FakeDevice, FakeWorld) {
    let machine = try FakeVM([], guest, { $0.emptyPorts = 1 }, hasControl: true)
    let world = FakeWorld()
    let device = try FakeDevice(FakeVM.shape(address), in: world)
    FakeHost.devices.withLock { $0[address] = (device, world) }
    try machine.add(address)
    return (machine, device, world)
  }

  /// Returns a guest that waits for a device in its port, switches the slot on, and waits for the attention button.
  private static func askedGuest() -> GuestCode {
    var guest = GuestCode()
    guest.use(UInt32(PlatformLayout.ecam.lowerBound) | 1 << 15)
    // Slot Status: a device is present, and then the attention button is pressed.
    guest.wait(0x58, 0x40 << 16)
    guest.store(0x58, 0)  // power on
    guest.wait(0x58, 1 << 16)
    return guest
  }

  @Test("a device behind a port is removed after the guest has switched its slot off, and is busy until then")
  func port() throws {
    let (port, address) = (UInt32(PlatformLayout.ecam.lowerBound) | 1 << 15, "0000:00:18.0")
    var guest = Self.askedGuest()
    // The guest waits for a word, so that the removal takes some time.
    guest.use(0x20_0000)
    guest.store(0, 0)
    guest.store(4, 1)
    guest.wait(0, 1)
    guest.use(port)
    guest.store(0x58, 0x400)  // power off
    guest.halt()
    let (machine, device, world) = try Self.machine(guest, address)
    defer { FakeHost.devices.withLock { $0[address] = nil } }
    let main = try machine.performOperations()
    let (one, two) = (try LineClient(machine.controlPath), try LineClient(machine.controlPath))
    let remove = #"{"id":1,"op":"remove","device":"\#(address)"}"#
    try one.send(remove)
    #expect(machine.wait { world.load(iova: 0x20_0004) == 1 })
    try two.send(remove)
    #expect(try ErrorReply(two.next()) == ErrorReply(.busy(device: address, .remove)))
    try two.send(#"{"id":2,"op":"status"}"#)
    #expect(try object(two.next()).strings["device0.state"] == "present")
    #expect(one.next(milliseconds: 20) == nil && device.isOpen)
    world.store(iova: 0x20_0000, 1)
    // Less than the time after which the device leaves by surprise.
    #expect(one.next(milliseconds: 5000) == #"{"id":1,"ok":1,"port":1}"#)
    #expect(!device.isOpen && world.violations.isEmpty)
    try two.send(remove)
    #expect(try ErrorReply(two.next()) == ErrorReply(.noDevice(address, .remove)))
    machine.shutdown.end(.quit)
    main.join()
    #expect(machine.stop().1.isEmpty)
  }

  @Test(
    "a device behind a port leaves without the guest's consent after the timeout of its removal",
    arguments: [0, 1])
  func surprise(_ seconds: Int) throws {
    let address = "0000:00:19.0"
    // With 0 seconds, the button is not pressed, and the guest waits for ever.
    var guest = Self.askedGuest()
    guest.halt()
    let (machine, device, world) = try Self.machine(guest, address)
    defer { FakeHost.devices.withLock { $0[address] = nil } }
    let main = try machine.performOperations()
    let client = try LineClient(machine.controlPath)
    #expect(machine.wait { machine.vm.ports[0].reaches(bus: 1) })
    try client.send(#"{"id":1,"op":"remove","device":"\#(address)","timeout":\#(seconds)}"#)
    #expect(client.next(milliseconds: 5000) == #"{"id":1,"ok":1,"port":1}"#)
    #expect(!device.isOpen && world.violations.isEmpty)
    machine.shutdown.end(.quit)
    main.join()
    #expect(machine.stop().1.isEmpty)
  }

  @Test("stop with a timeout presses the power button, and the VM ends at the deadline")
  func powerButton() throws {
    var guest = GuestCode()
    guest.halt()
    let machine = try machine([], guest)
    let main = try machine.performOperations()
    let client = try LineClient(machine.controlPath)
    let start = Clock.microseconds()
    try client.send(#"{"id":1,"op":"stop","timeout":1}"#)
    #expect(client.next() == #"{"id":1,"ok":1}"#)
    #expect(machine.shutdown.outcome == nil)
    #expect(machine.wait { machine.shutdown.isOver })
    #expect(Clock.microseconds() - start >= 1_000_000)
    main.join()
    let (outcome, failures) = machine.stop()
    #expect(outcome == .quit && failures.isEmpty)
  }

  @Test("a removal whose mapping cannot be removed ends the VM, and the reply has the cause")
  func failure() throws {
    let machine = try machine(["0000:00:15.0", "0000:00:16.0"])
    let main = try machine.performOperations()
    #expect(machine.wait { machine.device.peek(bar: 0, UInt64(Self.doorbell)) == 1 && machine.slots == 1 })
    for world in machine.worlds { world.fail("unmap") }
    let client = try LineClient(machine.controlPath)
    try client.send(#"{"id":1,"op":"remove","device":"0000:00:15.0"}"#)
    let line = client.next()
    machine.shutdown.end(.quit)
    main.join()
    for world in machine.worlds { world.succeed() }
    let outcome = machine.stop().0
    let reply = try ErrorReply(line)
    #expect(reply.subject == "device 0000:00:15.0" && reply.operation == "remove")
    if case .failure(.function(let error))? = outcome {
      #expect(error.device == "0000:00:15.0" && error.cause.description == reply.cause)
    } else {
      Issue.record("the outcome is \(String(describing: outcome))")
    }
  }
}
