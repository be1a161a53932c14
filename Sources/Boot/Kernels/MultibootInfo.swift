// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The multiboot information (Multiboot Specification 0.6.96 §3.3), followed by its module list, memory map
/// and strings.
struct MultibootInfo {
  /// The bytes at `PlatformLayout.multibootInfo`.
  let bytes: [UInt8]

  private static let size = 116
  private static let moduleSize = 16
  /// Present fields: memory sizes, command line, modules, memory map, boot loader name.
  private static let flags: UInt32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9
  private static let loader = "Sluice"

  /// Creates the information. The command line is at `PlatformLayout.commandLine`.
  ///
  /// - Parameters:
  ///   - module: The GPAs of the module, or nil.
  ///   - moduleName: The name of the module. It is cut to 1024 bytes of UTF-8.
  ///   - memoryMap: The ranges of GPAs with their kinds.
  init(module: Range<UInt64>?, moduleName: String, memoryMap: MemoryMap) {
    let base = UInt32(truncatingIfNeeded: PlatformLayout.multibootInfo.rawValue)
    let modules = base + UInt32(Self.size)
    let map = modules + UInt32(Self.moduleSize)
    let mapSize = UInt32(memoryMap.entries.count * 24)
    let strings = map + mapSize
    func usable(from start: UInt64) -> UInt32 {
      let entry = memoryMap.entries.first { $0.kind == .usable && $0.range.lowerBound == start }
      return entry.map { UInt32(clamping: ($0.range.upperBound - start) >> 10) } ?? 0
    }
    var bytes: [UInt8] = []
    bytes.append(little: Self.flags)
    bytes.append(little: usable(from: 0))
    bytes.append(little: usable(from: PlatformLayout.highMemory.rawValue))
    bytes.append(little: UInt32(0))  // boot device
    bytes.append(little: UInt32(truncatingIfNeeded: PlatformLayout.commandLine.rawValue))
    bytes.append(little: UInt32(module == nil ? 0 : 1))
    bytes.append(little: modules)
    bytes += [UInt8](repeating: 0, count: 16)  // symbols
    bytes.append(little: mapSize)
    bytes.append(little: map)
    bytes += [UInt8](repeating: 0, count: 12)  // drives, ROM configuration table
    bytes.append(little: strings)
    bytes += [UInt8](repeating: 0, count: Self.size - bytes.count)  // APM, VBE, frame buffer

    bytes.append(little: UInt32(truncatingIfNeeded: module?.lowerBound ?? 0))
    bytes.append(little: UInt32(truncatingIfNeeded: module?.upperBound ?? 0))
    bytes.append(little: strings + UInt32(Self.loader.utf8.count + 1))
    bytes.append(little: UInt32(0))  // reserved

    for entry in memoryMap.entries {
      bytes.append(little: UInt32(20))  // size of the rest of the entry
      bytes.append(little: entry.range.lowerBound)
      bytes.append(little: entry.range.upperBound - entry.range.lowerBound)
      bytes.append(little: entry.kind.rawValue)
    }
    // The module's name is cut to 1024 bytes, so that all fits in the page.
    bytes += Self.loader.utf8 + [0]
    bytes += moduleName.utf8.prefix(1024) + [0]
    self.bytes = bytes
  }
}
