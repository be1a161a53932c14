// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux

extension GuestMemory {
  /// The kind of host memory that backs guest RAM.
  public enum Backing: Sendable, Equatable {
    /// Ordinary shared memory (memfd_create).
    case memfd
    /// Private memory of this process, with transparent huge pages if the host finds some (MADV_HUGEPAGE).
    ///
    /// Shared memory is not used, because hosts seldom enable transparent huge pages for it (shmem_enabled).
    case transparentHugePages
    /// Like ``transparentHugePages``, but with pages of 4 KiB if the host's kernel has no transparent huge
    /// pages.
    case transparentHugePagesIfAvailable
    /// Huge pages of the host's pool, of 2 MiB or 1 GiB (MFD_HUGETLB). The shift is 21 or 30.
    case hugePages(shift: UInt32)

    /// The page size in bytes. Sizes must be a multiple of it.
    public var pageSize: UInt64 {
      switch self {
      case .memfd, .transparentHugePages, .transparentHugePagesIfAvailable: 4096
      case .hugePages(let shift): 1 << UInt64(shift)
      }
    }
  }
}

extension GuestMemory.Backing {
  /// Maps `size` bytes. No page is populated yet, but huge pages of the pool are reserved.
  ///
  /// - Parameters:
  ///   - size: Bytes.
  ///   - file: Receives the file of shared memory, whose size nobody can change, or nil for private memory.
  func map(
    _ size: UInt64, file: inout SharedDescriptor?
  ) throws(GuestMemory.AllocationError) -> Mapping {
    do throws(KernelError) { return try mapping(size, file: &file) } catch {
      guard case .hugePages(let shift) = self else { throw .kernel(error) }
      let kibibytes: UInt64 = 1 << UInt64(shift - 10)
      switch error.errno {
      case KernelError.noMemory:
        throw .hugePages(count: size >> UInt64(shift), kibibytes: kibibytes, error)
      case KernelError.noDevice: throw .noHugePageSize(kibibytes: kibibytes, error)
      default: throw .kernel(error)
      }
    }
  }

  private func mapping(_ size: UInt64, file: inout SharedDescriptor?) throws(KernelError) -> Mapping {
    switch self {
    case .transparentHugePages:
      let mapping = try Mapping(anonymous: size)
      try mapping.adviseHugePages()
      return mapping
    case .transparentHugePagesIfAvailable:
      let mapping = try Mapping(anonymous: size)
      do throws(KernelError) { try mapping.adviseHugePages() } catch {
        // EINVAL: the kernel was built without transparent huge pages.
        guard error.errno == KernelError.invalid else { throw error }
      }
      return mapping
    case .memfd: return try Self.map(size, flags: 0, file: &file)
    case .hugePages(let shift):
      return try Self.map(size, flags: UInt32(MFD_HUGETLB) | shift << 26, file: &file)
    }
  }

  private static func map(
    _ size: UInt64, flags: UInt32, file: inout SharedDescriptor?
  ) throws(KernelError) -> Mapping {
    let memory = SharedDescriptor(try Self.file(size: size, flags: flags))
    file = memory
    return try Mapping(descriptor: memory.number, offset: 0, size: size)
  }

  private static func file(size: UInt64, flags: UInt32) throws(KernelError) -> OwnedDescriptor {
    // SAFETY: the name is a literal that lives for the call.
    let number = try check(
      unsafe cl_memfd("guest-ram", UInt32(MFD_ALLOW_SEALING) | flags), "memfd_create")
    let file = OwnedDescriptor(owning: number)
    // From 2^63 bytes on, the length is negative and the kernel refuses it with EINVAL.
    try check(cl_truncate(number, Int64(bitPattern: size)), "ftruncate \(size) bytes of guest RAM")
    // A process that receives the file cannot make accesses to guest RAM fault.
    try check(cl_seal_size(number), "fcntl F_ADD_SEALS")
    return file
  }
}
