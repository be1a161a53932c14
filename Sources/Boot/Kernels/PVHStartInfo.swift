// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Xen's `struct hvm_start_info`, version 1, followed by its module list and memory map
/// (xen/include/public/arch-x86/hvm/start_info.h).
struct PVHStartInfo {
  /// The bytes at `PlatformLayout.pvhStartInfo`.
  let bytes: [UInt8]

  private static let magic: UInt32 = 0x336E_C578
  private static let version: UInt32 = 1
  private static let size: UInt64 = 56
  private static let moduleSize: UInt64 = 32

  init(ramdisk: Range<UInt64>?, memoryMap: MemoryMap) {
    let modules = PlatformLayout.pvhStartInfo.rawValue + Self.size
    var bytes: [UInt8] = []
    bytes.append(little: Self.magic)
    bytes.append(little: Self.version)
    bytes.append(little: UInt32(0))  // flags
    bytes.append(little: UInt32(ramdisk == nil ? 0 : 1))
    bytes.append(little: ramdisk == nil ? 0 : modules)
    bytes.append(little: PlatformLayout.commandLine.rawValue)
    bytes.append(little: PlatformLayout.rsdp.rawValue)
    bytes.append(little: modules + Self.moduleSize)
    bytes.append(little: UInt32(memoryMap.entries.count))
    bytes.append(little: UInt32(0))  // reserved

    bytes.append(little: ramdisk?.lowerBound ?? 0)
    bytes.append(little: ramdisk.map { $0.upperBound - $0.lowerBound } ?? 0)
    bytes.append(little: UInt64(0))  // no module command line
    bytes.append(little: UInt64(0))  // reserved

    for entry in memoryMap.entries {
      bytes.append(little: entry.range.lowerBound)
      bytes.append(little: entry.range.upperBound - entry.range.lowerBound)
      bytes.append(little: entry.kind.rawValue)
      bytes.append(little: UInt32(0))  // reserved
    }
    self.bytes = bytes
  }
}
