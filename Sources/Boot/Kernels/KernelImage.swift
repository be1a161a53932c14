// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// A kernel file in any supported format.
///
/// Each format has a loader in a separate file (`LinuxImage`, `ELFImage`, `MultibootImage`), and `Format`
/// selects it. RAM must be all zero, as `GuestMemory.init` leaves it. A loader does not write the bytes that
/// a kernel expects to be zero.
public enum KernelImage {
  private enum Format {
    case linux
    case elf
    case multiboot(MultibootHeader)
  }

  /// Loads a kernel, its initrd, its command line and the data of its boot protocol.
  ///
  /// This does not write the ACPI tables. `ACPI.install` writes them at the address that the kernel receives
  /// here.
  ///
  /// - Parameters:
  ///   - source: A bzImage with boot protocol 2.12 or newer, a 64-bit ELF file with a PVH note, or
  ///     a multiboot kernel (version 1).
  ///   - initrd: An initial RAM disk, or nil.
  ///   - commandLine: The kernel command line, in UTF-8.
  ///   - memory: Guest RAM.
  public static func load(
    _ source: BootSource, initrd: BootSource? = nil, commandLine: String, memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    let kernel = try ImageFile(opening: source, as: .kernel)
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
    try memory.store(entry.initialState.gdtBytes, at: PlatformLayout.gdt)
    return entry
  }

  /// Loads a kernel and its initrd from their paths.
  ///
  /// - Parameters:
  ///   - path: The path of the kernel.
  ///   - initrd: The path of the initial RAM disk, or nil.
  ///   - commandLine: The kernel command line, in UTF-8.
  ///   - memory: Guest RAM.
  public static func load(
    path: String, initrd: String? = nil, commandLine: String, memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    try load(
      BootSource(path: path), initrd: initrd.map(BootSource.init(path:)), commandLine: commandLine,
      memory: memory)
  }

  private static func format(of kernel: borrowing ImageFile) throws(BootError) -> Format {
    let start = try kernel.read(upTo: max(SetupHeader.maximumEnd, MultibootHeader.searchSize), at: 0)
    let multiboot = MultibootHeader(in: start)
    if start.starts(with: ELFHeader.magic) {
      // A PVH entry takes precedence, because PVH passes more information than multiboot.
      if let multiboot, try !ELFImage.hasPVHEntry(kernel) { return .multiboot(multiboot) }
      return .elf
    }
    if SetupHeader.isPresent(in: start) { return .linux }
    if let multiboot, multiboot.addresses != nil { return .multiboot(multiboot) }
    // A bzImage truncated within its first two sectors still starts like a PE file.
    if start.count < SetupHeader.minimumEnd, SetupHeader.couldBeTruncated(start) {
      throw .truncated(kernel.file, has: kernel.size, needs: UInt64(SetupHeader.minimumEnd))
    }
    throw .notAKernel(path: kernel.file.path)
  }

  /// Checks the length of the command line, then writes it with its NUL into guest RAM.
  ///
  /// - Parameters:
  ///   - commandLine: The kernel command line.
  ///   - limit: The longest command line that the kernel accepts, in bytes without the NUL.
  ///   - memory: Guest RAM.
  static func storeCommandLine(
    _ commandLine: String, limit: UInt64, in memory: GuestMemory
  ) throws(BootError) {
    let limit = Int(min(limit, UInt64(PlatformLayout.commandLineRoom - 1)))
    let bytes = [UInt8](commandLine.utf8)
    guard bytes.count <= limit else {
      throw .commandLineTooLong(length: bytes.count, limit: limit)
    }
    try memory.store(bytes + [0], at: PlatformLayout.commandLine)
  }
}
