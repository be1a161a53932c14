// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
internal import Linux
public import Seams
internal import Synchronization

/// The memory slots of a VM. Adding a slot allocates a number, and removing the slot frees it.
public final class MemorySlots: Sendable {
  private let machine: VirtualMachine
  private let limit: Int
  /// The GPA ranges of trapped platform registers. A slot there would hide the registers from the guest.
  private let platform: [Range<UInt64>]
  /// The number of memory slots for windows.
  public let capacity: Int
  /// Taken by the thread that changes a window, inside the lock of the function. No lock is taken inside it.
  private let numbers: Mutex<Numbers>

  private struct Numbers {
    var free: [UInt32] = []
    var next: UInt32
  }

  /// Creates the memory slots of a VM.
  ///
  /// - Parameters:
  ///   - machine: The VM.
  ///   - limit: KVM_CAP_NR_MEMSLOTS.
  ///   - reserved: The number of slots, from 0 on, that belong to guest RAM.
  ///   - platform: The GPA ranges of trapped registers, which no slot may cover.
  public init(_ machine: VirtualMachine, limit: Int, reserved: Int, platform: [Range<UInt64>] = []) {
    self.machine = machine
    self.platform = platform
    self.limit = limit
    capacity = max(0, limit - reserved)
    numbers = Mutex(Numbers(next: UInt32(reserved)))
  }

  /// Maps host memory into the guest and returns the number of its memory slot.
  ///
  /// For a device's memory, every vCPU must be between two instructions (``VirtualCPU/duringPause(_:)``).
  /// Otherwise KVM would complete an emulated instruction by byte copies through the new slot.
  public func add(at base: GuestAddress, size: UInt64, host: UInt64) throws(OperationError) -> UInt32 {
    // KVM accepts such a slot. The BAR would then hide the local APIC, the I/O APIC or the ECAM from the
    // guest.
    for range in platform where base.rawValue < range.upperBound {
      guard base.rawValue &+ (size - 1) >= range.lowerBound else { continue }
      throw OperationError("the range overlaps platform registers at \(GuestAddress(range.lowerBound))")
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

  /// Removes a memory slot. When this returns, no vCPU can access its memory.
  public func remove(_ slot: UInt32) throws(OperationError) {
    do throws(KernelError) { try machine.removeMemory(slot: slot) } catch { throw OperationError(error) }
    numbers.withLock { $0.free.append(slot) }
  }
}
