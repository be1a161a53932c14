// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Linux

/// Why a guest could not be prepared. Every description names the file and what to do.
public enum BootError: Error, Sendable, CustomStringConvertible {
  /// The file could not be opened or read.
  case unreadable(BootFile, KernelError)
  /// The file is a FIFO, a device or a socket.
  case notRegular(BootFile)
  /// The file has no bytes.
  case empty(BootFile)
  /// The file is shorter than its own headers say. Bytes.
  case truncated(BootFile, has: UInt64, needs: UInt64)
  /// Neither a bzImage nor an ELF file nor a multiboot kernel.
  case notAKernel(path: String)
  /// A bzImage of a boot protocol before 2.12; the version has its major number in the high byte.
  case oldProtocol(path: String, version: UInt16)
  /// A bzImage without the 64-bit entry point (XLF_KERNEL_64).
  case no64BitEntry(path: String)
  /// A bzImage or ELF file that contradicts itself.
  case damaged(path: String, reason: String)
  /// An ELF file that is not an x86 program, or one of 32 bits that is not for multiboot.
  case wrongELF(path: String, reason: String)
  /// An ELF file without the Xen note of type 18 that names the PVH entry.
  case noPVHNote(path: String)
  /// The kernel's memory, up to guest-physical `end`, is not all RAM. Bytes.
  case kernelTooLarge(path: String, end: UInt64, memory: UInt64)
  /// The initrd does not fit between the kernel and the end of RAM. Bytes.
  case initrdTooLarge(path: String, size: UInt64, room: UInt64, memory: UInt64, needed: UInt64)
  /// The initrd does not fit where this kernel looks for one. Bytes; `limit` is the highest GPA.
  case initrdBeyondKernelLimit(path: String, size: UInt64, limit: UInt64)
  /// The command line is longer than the kernel takes. Bytes.
  case commandLineTooLong(length: Int, limit: Int)
  /// The machine has no CPUs or too many.
  case unsupportedCPUCount(Int)
  /// The 64-bit PCI window overlaps RAM or lies below 4 GiB.
  case unusablePCIWindow(Range<UInt64>)
  /// The ACPI tables are larger than the room for them. Bytes.
  case tablesTooLarge(size: UInt64, room: UInt64)
  /// RAM ends before what every guest needs in its first MiB.
  case memoryTooSmall(GuestMemory.OutOfRange)

  /// The cause and the remedy, for a person.
  public var description: String {
    switch self {
    case .unreadable(let file, let error):
      "\(file) cannot be read: \(error); check the path and its permissions"
    case .notRegular(let file): "\(file) is not a regular file; copy its contents to one"
    case .empty(let file): "\(file) is empty; copy or build it again"
    case .truncated(let file, let has, let needs):
      "\(file) is truncated: \(has) bytes, but its headers call for \(needs) "
        + "(\(needs - min(has, needs)) missing); copy or build it again"
    case .notAKernel(let path):
      "kernel \(path) is not a kernel that Sluice can start; \(Self.formats)"
    case .oldProtocol(let path, let version):
      "kernel \(path) has boot protocol \(version >> 8).\(version & 0xFF), but 2.12 (Linux 3.8) is needed; "
        + "use a newer kernel"
    case .no64BitEntry(let path):
      "kernel \(path) has no 64-bit entry point (XLF_KERNEL_64); use an x86-64 kernel, not a 32-bit one"
    case .damaged(let path, let reason): "kernel \(path) is damaged: \(reason); copy or build it again"
    case .wrongELF(let path, let reason): "kernel \(path) \(reason); \(Self.formats)"
    case .noPVHNote(let path):
      "kernel \(path) is an ELF file without a PVH note (type 18 by \"Xen\"); "
        + "use the bzImage, or build the kernel with CONFIG_PVH=y"
    case .kernelTooLarge(let path, let end, let memory) where end <= min(memory, 3 << 30):
      "kernel \(path) needs RAM up to \(GuestAddress(end)), and the host reserves I/O addresses of a device's IOMMU "
        + "group below that (/sys/kernel/iommu_groups/*/reserved_regions); use another device, or a kernel that lies "
        + "elsewhere"
    case .kernelTooLarge(let path, let end, let memory):
      "kernel \(path) needs RAM up to \(GuestAddress(end)) (\(Self.mebibytes(end)) MiB), "
        + "but the guest has \(Self.amount(memory)) with at most 3072 MiB of it below 4 GiB; "
        + "give it more with --memory"
    case .initrdTooLarge(let path, let size, let room, let memory, let needed):
      "initrd \(path) has \(Self.amount(size)), but only \(Self.amount(room)) of the guest's "
        + "\(Self.amount(memory)) are free above the kernel; give it at least "
        + "--memory \(Self.mebibytes(needed))M"
    case .initrdBeyondKernelLimit(let path, let size, let limit):
      "initrd \(path) has \(Self.amount(size)), more than this kernel takes: it must lie above the kernel and "
        + "end by \(GuestAddress(limit)); use a smaller initrd, more memory does not help"
    case .commandLineTooLong(let length, let limit):
      "the kernel command line has \(length) bytes, but this kernel takes at most \(limit); shorten --append"
    case .unsupportedCPUCount(let count):
      "a machine with \(count) CPUs cannot be described; choose 1 to \(Platform.maximumCPUs) with --cpus"
    case .unusablePCIWindow(let window):
      "the 64-bit PCI window \(GuestAddress(window.lowerBound))–\(GuestAddress(window.upperBound)) "
        + "is not above 4 GiB and the guest's RAM; give the guest less memory with --memory"
    case .tablesTooLarge(let size, let room):
      "the ACPI tables have \(size) bytes, but there is room for \(room); choose fewer CPUs with --cpus"
    case .memoryTooSmall(let place):
      "the guest has too little memory: \(place); give it more with --memory"
    }
  }

  private static let formats =
    "what works is a bzImage with boot protocol 2.12 or newer, a 64-bit ELF file with a PVH note, or a "
    + "multiboot (version 1) kernel"

  private static func mebibytes(_ bytes: UInt64) -> UInt64 {
    bytes >> 20 + (bytes & 0xF_FFFF == 0 ? 0 : 1)
  }

  private static func amount(_ bytes: UInt64) -> String {
    bytes < 1 << 20 ? "\(bytes) bytes" : "\(mebibytes(bytes)) MiB"
  }
}

/// A file that goes into guest RAM, and what for.
public struct BootFile: Sendable, Equatable, CustomStringConvertible {
  /// What a file is for.
  public enum Role: String, Sendable {
    /// `--kernel`.
    case kernel
    /// `--initrd`.
    case initrd
  }

  /// What the file is for.
  public let role: Role
  /// Its path as it was given.
  public let path: String

  /// Names a file.
  public init(_ role: Role, path: String) {
    self.role = role
    self.path = path
  }

  /// `kernel /boot/vmlinuz`.
  public var description: String { "\(role.rawValue) \(path)" }
}
