// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Free addresses for BARs.
enum Placement {
  /// Finds and maps a free, aligned address. Returns nil if there is none.
  static func find(size: UInt64, above4GiB: Bool) -> UInt64? {
    let step = max(size, 4096)
    let end: UInt64 = above4GiB ? 0x60_0000_0000 : 0xE000_0000
    var address: UInt64 = above4GiB ? 0x48_0000_0000 : 0xD000_0000
    while address + step <= end {
      if isFree(address, step) { return PageMap.map(address, size: step) ? address : nil }
      address += step
    }
    return nil
  }

  private static func isFree(_ address: UInt64, _ size: UInt64) -> Bool {
    var isFree = true
    PCIBus.forEachFunction { function in
      guard function.isEndpoint else { return }
      BAR.forEach(function) { bar in
        if bar.isMemory, address < bar.end, bar.address < address + size { isFree = false }
      }
    }
    return isFree
  }
}

/// Returns the value that a BAR's registers read after a write of all-ones, with decoding on or off.
func sizing(_ function: PCIFunction, _ bar: BAR) -> UInt64 {
  let offset = PCIFunction.Register.firstBAR + UInt16(bar.index) * 4
  let low = function.load32(offset)
  function.store32(offset, .max)
  var mask = UInt64(function.load32(offset) & ~0xF)
  guard bar.is64Bit else {
    function.store32(offset, low)
    return mask | 0xFFFF_FFFF_0000_0000
  }
  let high = function.load32(offset + 4)
  function.store32(offset + 4, .max)
  mask |= UInt64(function.load32(offset + 4)) << 32
  function.store32(offset, low)
  function.store32(offset + 4, high)
  return mask
}
