// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Linux
internal import Seams

/// An error in the preparation of a guest.
public enum BootError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file could not be opened or read.
  case unreadable(BootFile, KernelError)
  /// The file is a FIFO, a device or a socket.
  case notRegular(BootFile)
  /// The file has no bytes.
  case empty(BootFile)
  /// The file is shorter than its headers require. Sizes are in bytes.
  case truncated(BootFile, has: UInt64, needs: UInt64)
  /// The file is not a bzImage, an ELF file or a multiboot kernel.
  case notAKernel(path: String)
  /// The bzImage uses a boot protocol before 2.12. The high byte of the version is the major number.
  case oldProtocol(path: String, version: UInt16)
  /// The bzImage has no 64-bit entry point (XLF_KERNEL_64).
  case no64BitEntry(path: String)
  /// The headers of the kernel file are inconsistent.
  case damaged(path: String, reason: String)
  /// The multiboot header requires features that Sluice does not provide. `flags` has their bits of the
  /// header's flags.
  case unsupportedFeatures(path: String, flags: UInt32)
  /// The kernel must load at an address below 1 MiB that Sluice does not allow.
  case loadAddressTooLow(path: String, reason: String)
  /// The ELF file is not an x86 program, or is a 32-bit file without a multiboot header.
  case wrongELF(path: String, reason: String)
  /// The ELF file has no Xen note of type 18, which gives the PVH entry point.
  case noPVHNote(path: String)
  /// The kernel needs RAM at IOVAs that the host reserves for a device's IOMMU group. `end` is the
  /// end of the kernel's memory (GPA).
  case kernelInReservedAddresses(path: String, end: UInt64)
  /// Part of the kernel's memory is not guest RAM. `end` is the end of the kernel's memory (GPA), `memory`
  /// the size of guest RAM in bytes.
  case kernelTooLarge(path: String, end: UInt64, memory: UInt64)
  /// The initrd does not fit between the kernel and the end of RAM. Sizes are in bytes; `needed` is a
  /// sufficient size of guest RAM.
  case initrdTooLarge(path: String, size: UInt64, room: UInt64, memory: UInt64, needed: UInt64)
  /// The initrd does not fit below the highest GPA that this kernel accepts, `limit`. The size is in bytes.
  case initrdBeyondKernelLimit(path: String, size: UInt64, limit: UInt64)
  /// The command line is longer than the kernel accepts. Lengths are in bytes.
  case commandLineTooLong(length: Int, limit: Int)
  /// The number of CPUs is not between 1 and ``Platform/maximumCPUs``.
  case unsupportedCPUCount(Int)
  /// The 64-bit PCI window overlaps RAM or lies below 4 GiB.
  case unusablePCIWindow(Range<UInt64>)
  /// The ACPI tables are larger than the space reserved for them. Sizes are in bytes.
  case tablesTooLarge(size: UInt64, room: UInt64)
  /// Guest RAM lacks a range that every guest needs in the first MiB.
  case memoryTooSmall(GuestMemory.OutOfRange)

  /// The subject (a file or a table) and the cause.
  public var description: String {
    switch self {
    case .unreadable(let file, let error): "\(file): \(error)"
    case .notRegular(let file): "\(file): not a regular file"
    case .empty(let file): "\(file): the file is empty"
    case .truncated(let file, let has, let needs):
      "\(file): the file is truncated: it has \(has) bytes, but its headers need \(needs) "
        + "(\(needs - min(has, needs)) missing)"
    case .notAKernel(let path): "kernel \(path): unknown format"
    case .oldProtocol(let path, let version):
      "kernel \(path): boot protocol \(version >> 8).\(version & 0xFF) is older than 2.12 (Linux 3.8)"
    case .no64BitEntry(let path): "kernel \(path): no 64-bit entry point (XLF_KERNEL_64)"
    case .damaged(let path, let reason): "kernel \(path): the file is damaged: \(reason)"
    case .unsupportedFeatures(let path, let flags):
      "kernel \(path): its multiboot header requires unsupported features (flags \(flags.hexadecimal), "
        + "bit 2 is a video mode)"
    case .wrongELF(let path, let reason), .loadAddressTooLow(let path, let reason):
      "kernel \(path): \(reason)"
    case .noPVHNote(let path): "kernel \(path): an ELF file without a PVH note (Xen note of type 18)"
    case .kernelInReservedAddresses(let path, let end):
      "kernel \(path): it needs RAM up to \(GuestAddress(end)), but the host reserves IOVAs below "
        + "that for a device's IOMMU group (/sys/kernel/iommu_groups/*/reserved_regions)"
    case .kernelTooLarge(let path, let end, let memory):
      "kernel \(path): it needs RAM up to \(GuestAddress(end)) (\(Self.mebibytes(end)) MiB), but the guest "
        + "has \(Self.amount(memory)), of which at most 3072 MiB are below 4 GiB"
    case .initrdTooLarge(let path, let size, let room, let memory, _):
      "initrd \(path): its size is \(Self.amount(size)), but only \(Self.amount(room)) of the guest's "
        + "\(Self.amount(memory)) are free above the kernel"
    case .initrdBeyondKernelLimit(let path, let size, let limit):
      "initrd \(path): its size is \(Self.amount(size)), but this kernel accepts an initrd only between "
        + "the kernel's end and \(GuestAddress(limit))"
    case .commandLineTooLong(let length, let limit):
      "kernel command line: \(length) bytes, but this kernel accepts at most \(limit)"
    case .unsupportedCPUCount(let count):
      "ACPI tables: the number of CPUs is \(count), not between 1 and \(Platform.maximumCPUs)"
    case .unusablePCIWindow(let window):
      "64-bit PCI window \(GuestAddress(window.lowerBound))–\(GuestAddress(window.upperBound)): it is "
        + "below 4 GiB or overlaps guest RAM"
    case .tablesTooLarge(let size, let room):
      "ACPI tables: their size is \(size) bytes, but only \(room) bytes are reserved for them"
    case .memoryTooSmall(let range): "guest RAM: too small: \(range)"
    }
  }

  /// Returns the error for a kernel whose memory is not all guest RAM.
  ///
  /// - Parameters:
  ///   - path: The path of the kernel.
  ///   - end: The end of the kernel's memory (GPA).
  ///   - memory: The size of guest RAM, in bytes. If it is large enough, the host reserves the missing
  ///     addresses.
  static func noRoom(path: String, end: UInt64, memory: UInt64) -> BootError {
    end <= min(memory, GuestMemory.holeStart)
      ? .kernelInReservedAddresses(path: path, end: end)
      : .kernelTooLarge(path: path, end: end, memory: memory)
  }

  private static func mebibytes(_ bytes: UInt64) -> UInt64 {
    bytes >> 20 + (bytes & 0xF_FFFF == 0 ? 0 : 1)
  }

  private static func amount(_ bytes: UInt64) -> String {
    bytes < 1 << 20 ? "\(bytes) bytes" : "\(mebibytes(bytes)) MiB"
  }
}

/// A file to load into guest RAM, and its role.
public struct BootFile: Sendable, Equatable, CustomStringConvertible {
  /// The role of a file.
  public enum Role: String, Sendable {
    /// The kernel image.
    case kernel
    /// The initial RAM disk.
    case initrd
  }

  /// The file's role.
  public let role: Role
  /// The file's path, as given.
  public let path: String

  /// Creates the description of a file.
  public init(_ role: Role, path: String) {
    self.role = role
    self.path = path
  }

  /// `kernel /boot/vmlinuz`.
  public var description: String { "\(role.rawValue) \(path)" }
}
