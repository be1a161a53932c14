// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Testing

@testable import KVM

/// Skipped where this machine's KVM is not there or may not be used.
@Suite(.enabled(if: KVMDevice.isUsable, "/dev/kvm is not usable here"))
struct MemorySlotsTests {
  private let memory: GuestMemory
  private let machine: VirtualMachine

  init() throws {
    memory = try GuestMemory(size: 2 << 20)
    machine = try VirtualMachine(try System())
  }

  /// A page of the guest's, far above its RAM.
  private func add(_ slots: MemorySlots, _ page: UInt64) throws(KernelError) -> UInt32 {
    try slots.add(
      at: GuestAddress(1 << 32 + page << 12), size: 4096, host: memory.regions[0].hostAddress)
  }

  @Test("numbers begin after those of guest RAM, and one that was given back is used again")
  func numbers() throws {
    let slots = MemorySlots(machine, limit: 32, reserved: 2)
    #expect(try add(slots, 0) == 2)
    #expect(try add(slots, 1) == 3)
    try slots.remove(2)
    #expect(try add(slots, 2) == 2)
    #expect(try add(slots, 0) == 4)
  }

  @Test("there are no more slots than KVM has, and one given back makes room")
  func limit() throws {
    let slots = MemorySlots(machine, limit: 4, reserved: 2)
    _ = try add(slots, 0)
    _ = try add(slots, 1)
    #expect(throws: KernelError("all 4 memory slots are in use", errno: KernelError.noMemory)) {
      try add(slots, 2)
    }
    try slots.remove(3)
    #expect(try add(slots, 2) == 3)
  }

  @Test("a slot that KVM refuses, because the place is taken, gives its number back")
  func refused() throws {
    let slots = MemorySlots(machine, limit: 32, reserved: 0)
    #expect(try add(slots, 0) == 0)
    let error = #expect(throws: KernelError.self) { try add(slots, 0) }
    #expect(error?.errno == 17)
    #expect(try add(slots, 1) == 1)
  }
}
