// SPDX-License-Identifier: Apache-2.0

public import GuestMemory
public import Linux

/// Why a guest could not be prepared.
public enum BootError: Error, Equatable, Sendable, CustomStringConvertible {
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
  /// The kernel needs an address below guest-physical `end` that the host reserves for a device's IOMMU group.
  case kernelInReservedAddresses(path: String, end: UInt64)
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

  /// The file or the table, and the cause.
  public var description: String {
    switch self {
    case .unreadable(let file, let error): "\(file): \(error)"
    case .notRegular(let file): "\(file): not a regular file"
    case .empty(let file): "\(file): the file is empty"
    case .truncated(let file, let has, let needs):
      "\(file): the file is truncated: it has \(has) bytes, and its headers need \(needs) "
        + "(\(needs - min(has, needs)) missing)"
    case .notAKernel(let path): "kernel \(path): not in a format that Sluice starts"
    case .oldProtocol(let path, let version):
      "kernel \(path): boot protocol \(version >> 8).\(version & 0xFF) is older than 2.12 (Linux 3.8)"
    case .no64BitEntry(let path): "kernel \(path): it has no 64-bit entry point (XLF_KERNEL_64)"
    case .damaged(let path, let reason): "kernel \(path): the file is damaged: \(reason)"
    case .wrongELF(let path, let reason): "kernel \(path): it \(reason)"
    case .noPVHNote(let path): "kernel \(path): an ELF file without a PVH note (type 18 by \"Xen\")"
    case .kernelInReservedAddresses(let path, let end):
      "kernel \(path): it needs RAM up to \(GuestAddress(end)), and the host reserves I/O addresses of a device's "
        + "IOMMU group below that (/sys/kernel/iommu_groups/*/reserved_regions)"
    case .kernelTooLarge(let path, let end, let memory):
      "kernel \(path): it needs RAM up to \(GuestAddress(end)) (\(Self.mebibytes(end)) MiB), and the guest has "
        + "\(Self.amount(memory)) with at most 3072 MiB of it below 4 GiB"
    case .initrdTooLarge(let path, let size, let room, let memory, _):
      "initrd \(path): it has \(Self.amount(size)), and only \(Self.amount(room)) of the guest's "
        + "\(Self.amount(memory)) are free above the kernel"
    case .initrdBeyondKernelLimit(let path, let size, let limit):
      "initrd \(path): it has \(Self.amount(size)), more than this kernel takes: it must lie above the kernel and "
        + "end by \(GuestAddress(limit))"
    case .commandLineTooLong(let length, let limit):
      "kernel command line: it has \(length) bytes, and this kernel takes at most \(limit)"
    case .unsupportedCPUCount(let count):
      "ACPI tables: \(count) CPUs are not between 1 and \(Platform.maximumCPUs)"
    case .unusablePCIWindow(let window):
      "64-bit PCI window \(GuestAddress(window.lowerBound))–\(GuestAddress(window.upperBound)): it is not above "
        + "4 GiB and the guest's RAM"
    case .tablesTooLarge(let size, let room):
      "ACPI tables: they have \(size) bytes, and there is room for \(room)"
    case .memoryTooSmall(let place): "guest RAM: too small: \(place)"
    }
  }

  /// The error of a kernel that needs RAM which the guest does not have.
  ///
  /// - Parameters:
  ///   - end: The end of the kernel's memory; GPA.
  ///   - memory: Guest RAM, in bytes. RAM that is large enough lacks only reserved addresses.
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

/// A file that goes into guest RAM, and what for.
public struct BootFile: Sendable, Equatable, CustomStringConvertible {
  /// What a file is for.
  public enum Role: String, Sendable {
    /// The kernel image.
    case kernel
    /// The initial RAM disk.
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
