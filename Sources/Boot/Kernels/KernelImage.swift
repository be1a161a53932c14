// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// A kernel file, of whichever format.
///
/// One file per format holds its loader (`LinuxImage`, `ELFImage`, `MultibootImage`); `Format` says
/// which file is whose. RAM must be as `GuestMemory.init` leaves it, all zero: what a kernel
/// wants zeroed is not written.
public enum KernelImage {
  private enum Format {
    case linux
    case elf
    case multiboot(MultibootHeader)
  }

  /// Loads a kernel with its initrd and command line, and what its boot protocol hands it.
  ///
  /// ACPI tables are not part of it: `ACPI.install` puts them where this says they are.
  ///
  /// - Parameters:
  ///   - path: A bzImage with boot protocol 2.12 or newer, a 64-bit ELF file with a PVH
  ///     note, or a kernel for multiboot, version 1.
  ///   - initrd: An initial RAM disk, or nothing.
  ///   - commandLine: What the kernel is told, in UTF-8.
  public static func load(
    path: String, initrd: String? = nil, commandLine: String, memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    let kernel = try ImageFile(opening: BootFile(.kernel, path: path))
    let format = try Self.format(of: kernel)
    let entry: EntryPoint
    switch format {
    case .linux:
      entry = try LinuxImage.load(kernel, initrd: initrd, commandLine: commandLine, into: memory)
    case .elf:
      entry = try ELFImage.load(kernel, initrd: initrd, commandLine: commandLine, into: memory)
    case .multiboot(let header):
      entry = try MultibootImage.load(
        kernel, header, initrd: initrd, commandLine: commandLine, into: memory)
    }
    try memory.place(entry.initialState.gdtBytes, at: PlatformLayout.gdt)
    return entry
  }

  private static func format(of kernel: borrowing ImageFile) throws(BootError) -> Format {
    let start = try kernel.read(upTo: max(SetupHeader.maximumEnd, MultibootHeader.searchSize), at: 0)
    let multiboot = MultibootHeader(in: start)
    if start.starts(with: ELFHeader.magic) {
      // A PVH entry is looked for first: it says more than multiboot can.
      if let multiboot, try !ELFImage.hasPVHEntry(kernel) { return .multiboot(multiboot) }
      return .elf
    }
    if SetupHeader.isPresent(in: start) { return .linux }
    if let multiboot, multiboot.addresses != nil { return .multiboot(multiboot) }
    // A kernel that was cut within its first sector or two still starts as a PE file does.
    if start.count < SetupHeader.minimumEnd, SetupHeader.couldBecomeOne(start) {
      throw .truncated(kernel.file, has: kernel.size, needs: UInt64(SetupHeader.minimumEnd))
    }
    throw .notAKernel(path: kernel.file.path)
  }

  /// Puts the command line and its NUL in place, and checks its length.
  ///
  /// - Parameter limit: What the kernel takes, in bytes without the NUL.
  static func place(
    commandLine: String, limit: UInt64, in memory: GuestMemory
  ) throws(BootError) {
    let limit = Int(min(limit, UInt64(PlatformLayout.commandLineRoom - 1)))
    let bytes = [UInt8](commandLine.utf8)
    guard bytes.count <= limit else {
      throw .commandLineTooLong(length: bytes.count, limit: limit)
    }
    try memory.place(bytes + [0], at: PlatformLayout.commandLine)
  }
}
