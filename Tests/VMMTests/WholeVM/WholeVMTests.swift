// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Linux
import Logging
import PCI
import Passthrough
import Seams
import Synchronization
import TestTools
import Testing

@testable import VMM

/// A whole VM with a fake device on this machine's KVM: the four paths from end to end. Skipped if KVM is not
/// usable.
@Suite(.enabled(if: FakeHost.hasKVM, "/dev/kvm is not usable here"), .serialized)
struct WholeVMTests {
  private static let msix = UInt32(FakeVM.msix)
  private static let doorbell: UInt64 = 0x3000
  private static let buffer: UInt64 = 0x20_0000

  @Test("MMIO and CONFIG accesses of the guest reach the device, and its MSI-X and DMA reach the guest")
  func paths() throws {
    var guest = GuestCode()
    // CONFIG.
    guest.readConfig(slot: 1, 0)
    guest.expect(0x1111_2222)
    guest.writeConfig(slot: 1, 4, 6)
    guest.readConfig(slot: 1, 0x10)
    guest.useBAR()
    // MMIO: the first access is trapped and opens the window. The others use its memory slot.
    guest.store(0x10, 0xAABB_CCDD)
    for _ in 0..<3 {
      guest.load(0x10)
      guest.expect(0xAABB_CCDD)
    }
    // MSI-X: vector 0x41 to the local APIC of this processor.
    guest.writeConfig(slot: 1, Self.msix, 0x8000_0000)
    guest.store(0x1000, 0xFEE0_0000)
    guest.store(0x1008, 0x41)
    guest.store(0x100C, 0)
    guest.push()
    guest.use(0xFEE0_0000)
    guest.store(0xF0, 0x1FF)
    // DMA: the device copies a word of this buffer to the next word after a write to the doorbell.
    guest.use(UInt32(Self.buffer))
    guest.store(0, 0x600D_F00D)
    guest.pop()
    guest.store(UInt32(Self.doorbell), 1)
    guest.push()
    guest.use(0xFEE0_0000)
    guest.wait(0x220, 2)  // IRR: vector 0x41 is pending
    guest.use(UInt32(Self.buffer))
    guest.load(4)
    guest.expect(0x600D_F00D)
    guest.pop()
    // Memory off: the window closes.
    guest.writeConfig(slot: 1, 4, 0)
    guest.load(0x10)
    guest.expect(.max)
    guest.writeConfig(slot: 1, 4, 2)
    guest.load(0x10)
    guest.expect(0xAABB_CCDD)
    guest.end(0)

    let machine = try FakeVM("0000:00:05.0", guest)
    let device = machine.device
    #expect(
      machine.wait { device.peek(bar: 0, Self.doorbell) == 1 },
      "the doorbell: \(String(describing: machine.vm.status.outcome))")
    // The device receives the access before its window opens.
    #expect(machine.wait { machine.slots == 2 })
    // The device does DMA to an I/O address and then signals its first vector.
    let word = try #require(machine.world.load(iova: Self.buffer))
    machine.world.store(iova: Self.buffer + 4, word)
    let event = try #require(device.state.withLock { $0.triggers[0] })
    var one: UInt64 = 1
    // SAFETY: the number lives for the call.
    _ = unsafe write(event, &one, 8)
    #expect(machine.wait { machine.shutdown.isOver })
    let (outcome, failures) = machine.stop()
    #expect(outcome == .debugExit(0))
    #expect(failures.isEmpty && machine.world.violations.isEmpty)
    #expect(machine.vm.status.functions[0].statistics.closes == 3)
    #expect(!device.isOpen && device.command == 0)
    // Guest RAM is unpinned concurrently.
    let names = machine.world.takeCalls().map(\.name)
    #expect(names.filter { $0 == "reset" || $0 == "close" }.suffix(2) == ["reset", "close"])
    #expect(machine.world.state.withLock { $0.spaces[0].isEmpty }, "RAM is unpinned")
  }

  @Test("a removed device reads all-ones, and the guest continues")
  func remove() throws {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 4, 2)
    guest.readConfig(slot: 1, 0x10)
    guest.useBAR()
    guest.store(UInt32(Self.doorbell), 1)
    guest.load(UInt32(Self.doorbell))
    guest.wait(UInt32(Self.doorbell), 2)  // all-ones, after the removal
    guest.readConfig(slot: 1, 0)
    guest.expect(.max)
    guest.end(0)
    let machine = try FakeVM("0000:00:06.0", guest, cpus: 2)
    #expect(machine.wait { machine.device.peek(bar: 0, Self.doorbell) == 1 })
    #expect(throws: ControlError.noDevice("0000:00:07.0", .remove)) {
      try machine.vm.remove(machine.vm.member("0000:00:07.0", .remove), within: nil)
    }
    try machine.vm.remove(machine.vm.member("0000:00:06.0", .remove), within: nil)
    #expect(throws: ControlError.released(device: "0000:00:06.0", .remove)) {
      try machine.vm.remove(machine.vm.member("0000:00:06.0", .remove), within: nil)
    }
    #expect(machine.wait { machine.shutdown.isOver })
    let (outcome, failures) = machine.stop()
    #expect(outcome == .debugExit(0) && failures.isEmpty)
    #expect(!machine.device.isOpen && machine.world.violations.isEmpty)
  }

  @Test("a stopped VM returns its device to the host, even if the guest loops")
  func stop() throws {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 4, 6)
    guest.readConfig(slot: 1, 0x10)
    guest.useBAR()
    guest.store(UInt32(Self.doorbell), 1)
    guest.wait(UInt32(Self.doorbell), 2)
    let machine = try FakeVM("0000:00:08.0", guest, cpus: 2)
    #expect(machine.wait { machine.device.peek(bar: 0, Self.doorbell) == 1 })
    machine.shutdown.end(.quit)
    let (outcome, failures) = machine.stop()
    #expect(outcome == .quit && failures.isEmpty)
    #expect(!machine.device.isOpen && machine.device.command == 0)
  }

  @Test("guest RAM is unpinned after the piece that a thread is pinning at the end of the VM")
  func pinning() throws {
    var guest = GuestCode()
    guest.writeConfig(slot: 1, 4, 2)
    guest.readConfig(slot: 1, 0x10)
    guest.useBAR()
    guest.wait(UInt32(Self.doorbell), 2)
    let hasBegun = DispatchSemaphore(value: 0)
    let isOver = DispatchSemaphore(value: 0)
    let machine = try FakeVM("0000:00:0a.0", guest) { world in
      world.whileMapping { iova in
        // The vCPU maps a window above guest RAM.
        guard iova == 0 else { return }
        hasBegun.signal()
        isOver.wait()
        // The release of the VM begins in this time.
        usleep(100_000)
      }
    }
    hasBegun.wait()
    machine.shutdown.end(.quit)
    isOver.signal()
    let (outcome, failures) = machine.stop()
    #expect(outcome == .quit && failures.isEmpty)
    let calls = machine.world.takeCalls().map(\.name)
    #expect(calls.contains("map"))
    #expect(machine.world.state.withLock { $0.spaces[0].isEmpty }, "RAM is unpinned")
  }

  @Test("a device whose reset fails at the end is reported and closed")
  func handBack() throws {
    var guest = GuestCode()
    guest.end(0)
    let machine = try FakeVM("0000:00:09.0", guest)
    #expect(machine.wait { machine.shutdown.isOver })
    machine.world.fail("reset")
    let (outcome, failures) = machine.stop()
    #expect(outcome == .debugExit(0))
    #expect(failures.map(\.device) == ["0000:00:09.0"])
    #expect(!machine.device.isOpen)
  }
}
