// SPDX-License-Identifier: Apache-2.0

import Boot
import Fakes
import Foundation
import Gate
import Linux
import PCI
import Passthrough
import Seams
import Synchronization
import TestTools
import Testing

@testable import VMM

/// The platform of a whole VM: its serial port, its processors, its buses, and devices that share a bus.
/// Skipped if KVM is not usable.
@Suite(.enabled(if: FakeHost.hasKVM, "/dev/kvm is not usable here"), .serialized)
struct WholeMachineTests {
  private static let doorbell: UInt32 = 0x3000

  /// Runs a guest without devices to its end. Returns the outcome and the serial output.
  private func outcome(_ guest: GuestCode, cpus: Int = 1) throws -> (Outcome?, [UInt8]) {
    let machine = try FakeVM([], guest, cpus: cpus)
    #expect(machine.wait { machine.shutdown.isOver })
    let (outcome, failures) = machine.stop()
    #expect(failures.isEmpty)
    return (outcome, machine.wire.bytes)
  }

  @Test("the serial port's interrupt arrives at pin 4 of the I/O APIC")
  func serialInterrupt() throws {
    var guest = GuestCode()
    guest.use(0xFEE0_0000)
    guest.store(0xF0, 0x1FF)
    guest.use(0xFEC0_0000)
    guest.store(0, 0x18)
    guest.store(0x10, 0x44)  // edge-triggered, vector 0x44
    guest.writePort(0x3FC, 8)  // OUT2
    guest.writePort(0x3F9, 2)  // enable the interrupt of the empty transmitter
    guest.use(0xFEE0_0000)
    guest.wait(0x220, 1 << 4)
    guest.end(0)
    #expect(try outcome(guest).0 == .debugExit(0))
  }

  @Test("a string instruction sends or receives all of its bytes in order")
  func string() throws {
    var guest = GuestCode()
    guest.use(0x20_0000)
    guest.store(0, 0x4443_4241)
    guest.store(4, 0x4847_4645)
    guest.writeString(0x20_0000, count: 8, port: 0x3F8)
    guest.writePort(0x3FF, 0x5A)  // the scratch register
    guest.readString(0x20_0000, count: 8, port: 0x3FF)
    guest.use(0x20_0000)
    for offset in [0, 4] as [UInt32] {
      guest.load(offset)
      guest.expect(0x5A5A_5A5A)
    }
    guest.end(3)
    let (outcome, bytes) = try outcome(guest)
    #expect(outcome == .debugExit(3))
    #expect(bytes == Array("ABCDEFGH".utf8))
  }

  @Test("an exception that the guest cannot handle ends the VM with a triple fault")
  func tripleFault() throws {
    var guest = GuestCode()
    guest.undefined()
    guest.end(0)
    #expect(try outcome(guest).0 == .tripleFault)
  }

  @Test("the second processor starts, and has its APIC ID and the number of processors")
  func secondProcessor() throws {
    var guest = GuestCode()
    // The second processor's code in real mode: eax = 1; cpuid; [0x9000] = ebx; 1: hlt; jmp 1b.
    let code: [UInt32] = [0x0001_B866, 0xA20F_0000, 0x001E_8966, 0xFDEB_F490]
    guest.use(0)
    for (index, word) in code.enumerated() { guest.store(0x8000 + UInt32(index) * 4, word) }
    guest.store(0x9000, 0)
    guest.use(0xFEE0_0000)
    guest.store(0xF0, 0x1FF)
    guest.store(0x310, 1 << 24)
    guest.store(0x300, 0x4500)  // INIT
    guest.store(0x310, 1 << 24)
    guest.store(0x300, 0x4608)  // SIPI: 0x8000
    guest.use(0)
    guest.wait(0x9000, 1 << 17)  // two processors
    guest.load(0x9000)
    guest.shiftRight(16)
    guest.expect(0x0102)
    guest.end(0)
    #expect(try outcome(guest, cpus: 2).0 == .debugExit(0))
  }

  @Test("a guest starts with the multiboot magic number and information")
  func multiboot() throws {
    var guest = GuestCode()
    guest.expect(0x2BAD_B002)
    guest.load(0)  // the flags, at EBX
    guest.expect(1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9)
    guest.load(8)  // KiB of memory above 1 MiB
    guest.expect(15 << 10)
    guest.end(0)
    #expect(try outcome(guest).0 == .debugExit(0))
  }

  @Test("a BAR that the guest moves over the ECAM does not hide the ECAM")
  func overPlatform() throws {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 0x10, UInt32(PlatformLayout.ecam.lowerBound))
    guest.writeConfig(slot: 1, 4, 2)
    for _ in 0..<10 {
      guest.use(UInt32(PlatformLayout.ecam.lowerBound))
      guest.load(0)
      guest.expect(0x0008_1B36)
      guest.load(1 << 15)
      guest.expect(0x1111_2222)
    }
    guest.end(0)
    let machine = try FakeVM([FakeVM.shape("0000:00:0a.0")], guest) { configuration in
      configuration.devices[0].policies.barMap = .eager
    }
    #expect(machine.wait { machine.shutdown.isOver })
    #expect(machine.slots == 0)
    #expect(machine.stop().0 == .debugExit(0))
  }

  @Test("memory that the host removes under a window reads all-ones, and the guest continues")
  func takenAway() throws {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 4, 2)
    guest.readConfig(slot: 1, 0x10)
    guest.useBAR()
    guest.store(Self.doorbell, 1)
    guest.load(Self.doorbell)
    guest.wait(Self.doorbell, 2)
    guest.end(0)
    let machine = try FakeVM("0000:00:0b.0", guest)
    let device = machine.device
    #expect(machine.wait { device.peek(bar: 0, UInt64(Self.doorbell)) == 1 && machine.slots == 1 })
    let host = try device.map(0, 0..<0x4000)
    func protect(_ access: Int32) -> Bool {
      // SAFETY: the pages belong to the device, which does not read them while its memory is off.
      unsafe mprotect(UnsafeMutableRawPointer(bitPattern: UInt(host)), 0x4000, access) == 0
    }
    device.state.withLock { $0.config[ConfigOffset.command] = 0 }
    #expect(protect(PROT_NONE))
    #expect(machine.wait { machine.shutdown.isOver })
    #expect(protect(PROT_READ | PROT_WRITE))
    let (outcome, failures) = machine.stop()
    #expect(outcome == .debugExit(0) && failures.isEmpty)
    #expect(machine.vm.status.functions[0].statistics.closes == 1)
  }

  @Test("devices that share a bus have separate BARs, and are reset and closed after all gates close")
  func sharedBus() throws {
    var guest = GuestCode()
    for slot in [1, 2] as [UInt32] {
      guest.writeConfig(slot: slot, 4, 6)
      guest.readConfig(slot: slot, 0x10)
      guest.useBAR()
      guest.store(0x10, 0x100 + slot)
      guest.load(0x10)
      guest.expect(0x100 + slot)
    }
    guest.end(0)
    let addresses = ["0000:07:00.0", "0000:07:01.0"]
    let machine = try FakeVM(
      addresses.map { address in
        var shape = FakeVM.shape(address)
        shape.hasReset = false
        shape.busResetScope = addresses.map { ResetDependent(group: "7", address: $0, isOwned: true) }
        return shape
      }, guest)
    #expect(machine.wait { machine.shutdown.isOver })
    for world in machine.worlds { _ = world.takeCalls() }
    let (outcome, failures) = machine.stop()
    #expect(outcome == .debugExit(0) && failures.isEmpty)
    for (index, device) in machine.devices.enumerated() {
      #expect(device.peek(bar: 0, 0x10) == 0x101 + UInt32(index))
      #expect(!device.isOpen && device.command == 0)
      let names = machine.worlds[index].takeCalls().map(\.name)
      #expect(
        names.filter { ["removeSlot", "resetBus", "close"].contains($0) }.suffix(2) == ["resetBus", "close"])
    }
  }

  @Test("a notification affects only the function that it names")
  func notification() throws {
    var guest = GuestCode()
    guest.readConfig(slot: 1, 0)
    guest.halt()
    let machine = try FakeVM(
      ["0000:00:0c.0", "0000:00:0d.0"].map { FakeVM.shape($0) }, guest)
    machine.vm.handle(.request, of: 1)
    #expect(machine.devices.map(\.isOpen) == [true, false])
    try machine.vm.remove(machine.vm.member("0000:00:0c.0", .remove), within: nil)
    #expect(!machine.device.isOpen)
    machine.shutdown.end(.quit)
    let (outcome, failures) = machine.stop()
    #expect(outcome == .quit && failures.isEmpty)
  }

  @Test("a vCPU that waits for pinned RAM does not delay the end of the VM")
  func unpinned() throws {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 4, 6)
    guest.end(1)
    let shape = FakeVM.shape("0000:00:0e.0")
    let machine = try FakeVM([shape], guest)
    machine.shutdown.end(.quit)
    let (outcome, failures) = machine.stop()
    #expect(outcome == .quit || outcome == .debugExit(1))
    #expect(failures.isEmpty && !machine.device.isOpen)
  }
}
