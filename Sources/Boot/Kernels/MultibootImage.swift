// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Loads a multiboot kernel, version 1: a 32-bit or 64-bit ELF file, or any file whose header gives its load
/// addresses.
enum MultibootImage {
  static func load(
    _ kernel: borrowing ImageFile, _ header: MultibootHeader, initrd: BootSource?, commandLine: String,
    into memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    let path = kernel.file.path
    guard header.unsupportedFlags == 0 else {
      throw .unsupportedFeatures(path: path, flags: header.unsupportedFlags)
    }
    let entry: UInt64
    let end: UInt64
    if let addresses = header.addresses {
      (entry, end) = try load(kernel, header.offset, addresses, into: memory)
    } else {
      (entry, end) = try loadELF(kernel, into: memory)
    }
    var module: Range<UInt64>?
    if let initrd {
      module = try Initrd.load(
        initrd, above: max(end, PlatformLayout.highMemory.rawValue), limit: GuestMemory.holeStart - 1,
        above4GiB: false, into: memory)
    }
    // The command line starts with the kernel's path (§3.3, 'cmdline').
    let line = commandLine.isEmpty ? path : "\(path) \(commandLine)"
    try KernelImage.storeCommandLine(line, limit: .max, in: memory)
    let info = MultibootInfo(module: module, moduleName: initrd?.name ?? "", memoryMap: MemoryMap(memory))
    try memory.store(info.bytes, at: PlatformLayout.multibootInfo)
    return .multiboot32(eip: GuestAddress(entry), ebx: PlatformLayout.multibootInfo)
  }

  private static func loadELF(
    _ kernel: borrowing ImageFile, into memory: GuestMemory
  ) throws(BootError) -> (entry: UInt64, end: UInt64) {
    let header = try ELFHeader(kernel)
    let segments = try ELFSegments(kernel, header, memory, low: PlatformLayout.multibootLow)
    guard let end = segments.end(covering: header.entry), header.entry >> 32 == 0 else {
      throw .damaged(
        path: kernel.file.path, reason: "no segment contains its entry \(GuestAddress(header.entry))")
    }
    try segments.load(kernel, into: memory)
    return (header.entry, end)
  }

  private static func load(
    _ kernel: borrowing ImageFile, _ offset: Int, _ addresses: MultibootHeader.Addresses,
    into memory: GuestMemory
  ) throws(BootError) -> (entry: UInt64, end: UInt64) {
    let path = kernel.file.path
    let load = UInt64(addresses.load)
    let before = UInt64(addresses.header) &- load
    guard addresses.header >= addresses.load, before <= UInt64(offset),
      UInt64(offset) - before < kernel.size
    else { throw .damaged(path: path, reason: "the addresses in its multiboot header are inconsistent") }
    guard load >= PlatformLayout.highMemory.rawValue else {
      throw .loadAddressTooLow(path: path, reason: "its load address \(GuestAddress(load)) is below 1 MiB")
    }
    let start = UInt64(offset) - before
    let loadEnd = addresses.loadEnd == 0 ? load + (kernel.size - start) : UInt64(addresses.loadEnd)
    let end = max(loadEnd, UInt64(addresses.bssEnd))
    guard loadEnd > load, UInt64(addresses.entry) >= load, UInt64(addresses.entry) < loadEnd else {
      throw .damaged(
        path: path, reason: "the loaded range excludes its entry \(GuestAddress(UInt64(addresses.entry)))")
    }
    try kernel.require(offset: start, count: loadEnd - load)
    guard memory.holdsLow(load..<end) else {
      throw .noRoom(path: path, end: end, memory: memory.size)
    }
    try kernel.load(offset: start, count: loadEnd - load, into: memory, at: GuestAddress(load))
    return (UInt64(addresses.entry), end)
  }
}
