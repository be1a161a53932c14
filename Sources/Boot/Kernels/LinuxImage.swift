// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Loads a bzImage by the 64-bit Linux boot protocol (Documentation/arch/x86/boot.rst).
enum LinuxImage {
  /// The offset of the 64-bit entry in the protected-mode kernel, in bytes.
  private static let entryOffset: UInt64 = 0x200

  static func load(
    _ kernel: borrowing ImageFile, initrd: BootSource?, commandLine: String, into memory: GuestMemory
  ) throws(BootError) -> EntryPoint {
    let path = kernel.file.path
    let header = try SetupHeader(try kernel.read(upTo: SetupHeader.maximumEnd, at: 0), path: path)
    try kernel.require(offset: header.payloadOffset, count: header.payloadSize)

    let address = try header.loadAddress(path: path)
    let size = max(header.initSize, header.payloadSize)
    let (end, overflow) = address.addingReportingOverflow(size)
    guard !overflow, memory.holdsLow(address..<end) else {
      throw .noRoom(path: path, end: overflow ? .max : end, memory: memory.size)
    }
    var ramdisk: Range<UInt64>?
    if let initrd {
      ramdisk = try Initrd.load(
        initrd, above: end, limit: header.initrdLimit, above4GiB: header.canBeAbove4GiB,
        into: memory)
    }
    try KernelImage.storeCommandLine(commandLine, limit: header.commandLineLimit, in: memory)
    try kernel.load(
      offset: header.payloadOffset, count: header.payloadSize, into: memory, at: GuestAddress(address))
    let parameters = LinuxBootParameters(
      header: header, ramdisk: ramdisk, memoryMap: MemoryMap(memory))
    try memory.store(parameters.bytes, at: PlatformLayout.bootParameters)
    try memory.store(
      PageTables.bytes(at: PlatformLayout.pageTables), at: PlatformLayout.pageTables)
    return .linux64(
      rip: GuestAddress(address + entryOffset), rsi: PlatformLayout.bootParameters,
      cr3: PlatformLayout.pageTables)
  }
}

extension GuestMemory {
  /// The end of the RAM below 4 GiB (GPA).
  var lowEnd: UInt64 { regions.first?.end.rawValue ?? 0 }

  /// True if a range is within the RAM between 1 MiB and the hole.
  func holdsLow(_ range: Range<UInt64>) -> Bool {
    range.lowerBound >= PlatformLayout.highMemory.rawValue && range.upperBound <= lowEnd
  }
}
