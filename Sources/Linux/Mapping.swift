// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Memory mapped into this process, unmapped when its owner goes.
///
/// The address is only handed to the kernel (KVM memory slots, IOMMU); code reads
/// and writes through checked accessors of the owner's kind.
public struct Mapping: ~Copyable, Sendable {
  /// Host virtual address of the first byte.
  public let address: UInt64
  /// Length in bytes.
  public let size: UInt64

  /// Maps `size` bytes of a descriptor, shared, readable and writable.
  ///
  /// The address is congruent with `offset` modulo the largest power of two up to
  /// 1 GiB that fits in `size`: without that the kernel cannot use huge faults.
  ///
  /// - Parameters:
  ///   - offset: The place in the file, in bytes; a multiple of the page size.
  ///   - congruence: What the address is congruent with, where that is not the offset:
  ///     for a piece of a BAR, its offset in the BAR.
  public init(
    descriptor: Int32, offset: UInt64, size: UInt64, congruentWith congruence: UInt64? = nil
  ) throws(KernelError) {
    var alignment: UInt64 = 4096
    while alignment < 1 << 30, alignment << 1 <= size { alignment <<= 1 }
    let reserve = size + alignment
    let base = UInt64(
      try check(
        cl_mmap(0, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
        "mmap \(reserve) bytes of address space"))
    let start = base + ((congruence ?? offset) &- base) & (alignment - 1)
    let mapped = cl_mmap(
      start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, Int64(offset))
    if mapped < 0 { _ = cl_munmap(base, reserve) }
    try check(mapped, "mmap \(size) bytes")
    // The rest of the reservation goes back; failing to return address space is harmless.
    if start > base { _ = cl_munmap(base, start - base) }
    if base + reserve > start + size { _ = cl_munmap(start + size, base + reserve - start - size) }
    address = start
    self.size = size
  }

  deinit { _ = cl_munmap(address, size) }
}
