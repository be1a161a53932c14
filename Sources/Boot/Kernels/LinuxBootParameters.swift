// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// Linux's `struct boot_params`, the "zero page" (Documentation/arch/x86/zero-page.rst).
struct LinuxBootParameters {
  /// The bytes of the page at `PlatformLayout.bootParameters`.
  let bytes: [UInt8]

  private enum Offset {
    static let acpiRSDP = 0x070
    static let ramdiskImageHigh = 0x0C0
    static let ramdiskSizeHigh = 0x0C4
    static let e820Count = 0x1E8
    static let videoMode = 0x1FA
    static let loaderType = 0x210
    static let ramdiskImage = 0x218
    static let ramdiskSize = 0x21C
    static let commandLine = 0x228
    static let e820Table = 0x2D0
  }

  /// "normal": the kernel sets no video mode.
  private static let videoModeNormal: UInt16 = 0xFFFF
  /// "undefined": a loader without an assigned ID.
  private static let loaderUndefined: UInt8 = 0xFF

  init(header: SetupHeader, ramdisk: Range<UInt64>?, memoryMap: MemoryMap) {
    var page = [UInt8](repeating: 0, count: 4096)
    page.replaceSubrange(SetupHeader.start..<SetupHeader.start + header.bytes.count, with: header.bytes)
    page.set(Self.videoModeNormal, at: Offset.videoMode)
    page.set(Self.loaderUndefined, at: Offset.loaderType)
    page.set(UInt32(PlatformLayout.commandLine.rawValue), at: Offset.commandLine)
    if header.version >= SetupHeader.acpiVersion {
      page.set(PlatformLayout.rsdp.rawValue, at: Offset.acpiRSDP)
    }
    if let ramdisk {
      let size = ramdisk.upperBound - ramdisk.lowerBound
      page.set(UInt32(truncatingIfNeeded: ramdisk.lowerBound), at: Offset.ramdiskImage)
      page.set(UInt32(ramdisk.lowerBound >> 32), at: Offset.ramdiskImageHigh)
      page.set(UInt32(truncatingIfNeeded: size), at: Offset.ramdiskSize)
      page.set(UInt32(size >> 32), at: Offset.ramdiskSizeHigh)
    }
    // A machine has a few ranges; the table has room for 128.
    page.set(UInt8(memoryMap.entries.count), at: Offset.e820Count)
    for (index, entry) in memoryMap.entries.enumerated() {
      let offset = Offset.e820Table + index * 20
      page.set(entry.range.lowerBound, at: offset)
      page.set(entry.range.upperBound - entry.range.lowerBound, at: offset + 8)
      page.set(entry.kind.rawValue, at: offset + 16)
    }
    bytes = page
  }
}
