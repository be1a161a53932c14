// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
internal import Linux
public import Seams
internal import Synchronization

/// The memory slots of a machine: who adds one gets a number, who removes it gives it back.
public final class MemorySlots: Sendable {
  private let machine: VirtualMachine
  private let limit: Int
  /// GPAs that answer without a slot: a slot would hide them from the guest.
  private let platform: [Range<UInt64>]
  /// How many slots there are for windows.
  public let capacity: Int
  /// Taken by the thread that changes a window, inside the lock of its function; nothing is
  /// locked inside it.
  private let numbers: Mutex<Numbers>

  private struct Numbers {
    var free: [UInt32] = []
    var next: UInt32
  }

  /// Manages the slots of a machine.
  ///
  /// - Parameters:
  ///   - limit: KVM_CAP_NR_MEMSLOTS.
  ///   - reserved: How many slots, from 0 on, belong to guest RAM.
  ///   - platform: GPAs of trapped registers, which no slot may cover.
  public init(_ machine: VirtualMachine, limit: Int, reserved: Int, platform: [Range<UInt64>] = []) {
    self.machine = machine
    self.platform = platform
    self.limit = limit
    capacity = max(0, limit - reserved)
    numbers = Mutex(Numbers(next: UInt32(reserved)))
  }

  /// Maps host memory into the guest and returns the slot that holds it.
  ///
  /// For a device's memory every vCPU is between two instructions (``VirtualCPU/duringPause(_:)``). KVM
  /// would do the rest of an instruction that it emulates by byte copies through the new slot.
  public func add(at base: GuestAddress, size: UInt64, host: UInt64) throws(OperationError) -> UInt32 {
    // KVM takes such a slot, and the guest would lose its local APIC, I/O APIC or ECAM to a BAR.
    for range in platform where base.rawValue < range.upperBound {
      guard base.rawValue &+ (size - 1) >= range.lowerBound else { continue }
      throw OperationError("registers of the platform are at \(GuestAddress(range.lowerBound))")
    }
    let number: UInt32? = numbers.withLock { numbers in
      if let free = numbers.free.popLast() { return free }
      guard numbers.next < limit else { return nil }
      numbers.next += 1
      return numbers.next - 1
    }
    guard let number else {
      throw OperationError("all \(limit) memory slots are in use")
    }
    do throws(KernelError) {
      try machine.setMemory(slot: number, at: base, size: size, host: host)
    } catch {
      numbers.withLock { $0.free.append(number) }
      throw OperationError(error)
    }
    return number
  }

  /// Takes a slot away; when this returns no vCPU reaches its memory.
  public func remove(_ slot: UInt32) throws(OperationError) {
    do throws(KernelError) { try machine.removeMemory(slot: slot) } catch { throw OperationError(error) }
    numbers.withLock { $0.free.append(slot) }
  }
}
