// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Seams
import Testing

@testable import KVM

/// Skipped if this machine has no KVM or does not permit its use.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct MemorySlotsTests {
  private let memory: GuestMemory
  private let machine: VirtualMachine

  init() throws {
    memory = try GuestMemory(size: 2 << 20)
    machine = try KVMDevice.machine(try KVMSystem())
  }

  /// Adds a guest page far above the guest's RAM.
  private func add(_ slots: MemorySlots, _ page: UInt64) throws(OperationError) -> UInt32 {
    try slots.add(
      at: GuestAddress(1 << 32 + page << 12), size: 4096, host: memory.regions[0].hostAddress)
  }

  @Test("numbers begin after the slots of guest RAM, and a freed number is reused")
  func numbers() throws {
    let slots = MemorySlots(machine, limit: 32, reserved: 2)
    #expect(try add(slots, 0) == 2)
    #expect(try add(slots, 1) == 3)
    try slots.remove(2)
    #expect(try add(slots, 2) == 2)
    #expect(try add(slots, 0) == 4)
  }

  @Test("the number of slots is KVM's limit, and removing a slot makes room")
  func limit() throws {
    let slots = MemorySlots(machine, limit: 4, reserved: 2)
    #expect(slots.capacity == 2 && MemorySlots(machine, limit: 2, reserved: 3).capacity == 0)
    _ = try add(slots, 0)
    _ = try add(slots, 1)
    #expect(throws: OperationError("all 4 memory slots are in use")) {
      try add(slots, 2)
    }
    try slots.remove(3)
    #expect(try add(slots, 2) == 3)
  }

  @Test("a slot that KVM refuses, because its range is occupied, frees its number")
  func refused() throws {
    let slots = MemorySlots(machine, limit: 32, reserved: 0)
    #expect(try add(slots, 0) == 0)
    let error = #expect(throws: OperationError.self) { try add(slots, 0) }
    #expect(error?.errno == 17)
    #expect(try add(slots, 1) == 1)
  }

  @Test(
    "no memory slot covers platform registers",
    arguments: [
      (0xFEE0_0000, 0x1000, true), (0xFEC0_0000, 0x40_0000, true), (0xFEE0_0000 - 0x1000, 0x1000, false),
      (0xFEE0_1000, 0x1000, false), (0x1_0000_0000 - 0x200_0000, 0x200_0000, true),
      (0xF000_0000, 0x1000, false),
    ] as [(UInt64, UInt64, Bool)])
  func platform(base: UInt64, size: UInt64, isRefused: Bool) throws {
    let slots = MemorySlots(
      machine, limit: 32, reserved: 0, platform: [0xE000_0000..<0xE010_0000, 0xFEE0_0000..<0xFEE0_1000])
    let large = try GuestMemory(size: 64 << 20)
    func add() throws(OperationError) -> UInt32 {
      try slots.add(at: GuestAddress(base), size: size, host: large.regions[0].hostAddress)
    }
    if isRefused {
      let error = #expect(throws: OperationError.self) { try add() }
      #expect(
        error?.errno == nil && error?.description == "the range overlaps platform registers at 0xfee00000")
    } else {
      #expect(try add() == 0)
    }
  }
}
