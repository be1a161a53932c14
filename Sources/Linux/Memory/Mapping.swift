// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Memory mapped into this process. It is unmapped at the end of its owner's life.
///
/// The address is only passed to the kernel (KVM memory slots, IOMMU). Code reads and writes through checked
/// accessors of the owner.
public struct Mapping: ~Copyable, Sendable {
  /// Host virtual address of the first byte.
  public let address: UInt64
  /// Length in bytes.
  public let size: UInt64

  /// Maps `size` bytes of a descriptor, shared, readable and writable.
  ///
  /// The address is congruent with `offset` modulo the largest power of two up to 1 GiB that fits in `size`.
  /// Otherwise the kernel cannot map huge pages on a fault.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the file or device.
  ///   - offset: The offset in the file, in bytes; a multiple of the page size.
  ///   - size: The size of the mapping in bytes.
  ///   - congruence: The value that the address is congruent with, or nil for `offset`. For a piece of a BAR,
  ///     it is the offset in the BAR.
  public init(
    descriptor: Int32, offset: UInt64, size: UInt64, congruentWith congruence: UInt64? = nil
  ) throws(KernelError) {
    address = try Self.mapAligned(size, congruentWith: congruence ?? offset) { start in
      cl_mmap(
        start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, Int64(offset))
    }
    self.size = size
  }

  /// Maps `size` bytes of private memory that reads as zero. Its pages are allocated on the first access. The
  /// alignment is the same as for a file.
  public init(anonymous size: UInt64) throws(KernelError) {
    address = try Self.mapAligned(size, congruentWith: 0) { start in
      cl_mmap(
        start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0)
    }
    self.size = size
  }

  /// Finds a free range of the address space and maps it.
  private static func mapAligned(
    _ size: UInt64, congruentWith congruence: UInt64, map: (UInt64) -> Int64
  ) throws(KernelError) -> UInt64 {
    var alignment: UInt64 = 4096
    while alignment < 1 << 30, alignment << 1 <= size { alignment <<= 1 }
    let reserve = size + alignment
    let base = UInt64(
      try check(
        cl_mmap(0, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
        "mmap \(reserve) bytes of address space"))
    let start = base + (congruence &- base) & (alignment - 1)
    let mapped = map(start)
    if mapped < 0 { _ = cl_munmap(base, reserve) }
    try check(mapped, "mmap \(size) bytes")
    // Free the rest of the reservation. A failure is harmless.
    if start > base { _ = cl_munmap(base, start - base) }
    if base + reserve > start + size { _ = cl_munmap(start + size, base + reserve - start - size) }
    return start
  }

  /// Unmaps the file and keeps the addresses, until ``attach(descriptor:offset:)``. An access faults.
  public func detach() throws(KernelError) {
    try check(
      cl_mmap(
        address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0),
      "mmap \(size) bytes of address space")
  }

  /// Maps a file at the addresses of a mapping that was detached.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the file or device.
  ///   - offset: The offset in the file, in bytes; a multiple of the page size.
  public func attach(descriptor: Int32, offset: UInt64) throws(KernelError) {
    try check(
      cl_mmap(
        address, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, Int64(offset)),
      "mmap \(size) bytes")
  }

  /// Requests transparent huge pages (madvise, MADV_HUGEPAGE).
  public func adviseHugePages() throws(KernelError) {
    try check(cl_madvise(address, size, MADV_HUGEPAGE), "madvise MADV_HUGEPAGE \(size) bytes")
  }

  /// Excludes the pages from core dumps (madvise, MADV_DONTDUMP).
  public func excludeFromCoreDumps() throws(KernelError) {
    try check(cl_madvise(address, size, MADV_DONTDUMP), "madvise MADV_DONTDUMP \(size) bytes")
  }

  /// Binds pages that are touched from now on to one NUMA node of the host (mbind, MPOL_BIND).
  public func bind(toNode node: Int) throws(KernelError) {
    try check(
      cl_bind_memory(address, size, UInt32(clamping: node)), "mbind \(size) bytes to NUMA node \(node)")
  }

  /// Populates the pages of a part, as if each had been written to. Their contents do not change (madvise,
  /// MADV_POPULATE_WRITE).
  ///
  /// - Parameters:
  ///   - offset: The start of the part, in bytes; a multiple of the page size.
  ///   - count: Bytes; a multiple of the page size. The part must end within the mapping.
  public func populate(_ offset: UInt64, count: UInt64) throws(KernelError) {
    precondition(offset <= size && count <= size - offset, "the part ends beyond the mapping")
    try check(
      cl_madvise(address + offset, count, MADV_POPULATE_WRITE), "madvise MADV_POPULATE_WRITE \(count) bytes")
  }

  /// Frees the pages (madvise, MADV_DONTNEED). The contents of anonymous memory are lost. An unmapped part
  /// has no pages and is not an error.
  public func discard() throws(KernelError) {
    let result = cl_madvise(address, size, MADV_DONTNEED)
    if result == -ENOMEM { return }
    try check(result, "madvise MADV_DONTNEED \(size) bytes")
  }

  deinit { _ = cl_munmap(address, size) }
}
