// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Guest-physical addresses and ports of random accesses.
///
/// Sturdy functions (`Table.Function.isFragile` is false) and fragile functions move in separate address
/// ranges, so that a store never reaches a register of a fragile function.
enum RandomAddresses {
  /// RAM that the guest does not use: the upper half of 128 MiB.
  private static let sturdyRAM: UInt64 = 0x400_0000
  private static let fragileRAM: UInt64 = 0x600_0000
  /// Addresses above 4 GiB.
  private static let sturdyHigh: UInt64 = 0x48_0000_0000
  private static let fragileHigh: UInt64 = 0x50_0000_0000
  private static let highSize: UInt64 = 0x1000_0000
  private static let fragileLow: UInt64 = 0xD800_0000

  static func prepare() {
    _ = PageMap.map(sturdyHigh, size: highSize + 4096)
    _ = PageMap.map(fragileHigh, size: highSize + 4096)
  }

  /// Returns an address for a BAR: over another BAR, over RAM, above 4 GiB, at the end of the address space,
  /// over the ECAM, over the APICs, or any address.
  static func bar(_ function: Table.Function, _ bar: Table.Slot, _ random: inout Random) -> UInt64 {
    let mask = ~(bar.size - 1)
    guard bar.isMemory else { return port(function, bar, &random) & mask }
    let high = function.isFragile ? fragileHigh : sturdyHigh
    let step = random.next(below: 4) * max(bar.size, 0x1000)
    switch random.next(below: 12) {
    case 0, 1, 2: return bar.home
    case 3: return bar.is64Bit ? high : bar.home
    case 4: return bar.is64Bit ? high + step : (function.isFragile ? fragileLow : bar.home)
    case 5: return ((function.isFragile ? fragileRAM : sturdyRAM) + step) & mask
    case 6: return 0xE000_0000 & mask
    case 7: return (random.chance(2) ? 0xFEE0_0000 : 0xFEC0_0000) & mask
    case 8: return bar.is64Bit ? 0 &- bar.size : 0x1_0000_0000 - bar.size
    case 9: return bar.is64Bit ? 0x8000_0000_0000 &- bar.size : 0xF000_0000 & mask
    case 10: return function.isFragile ? bar.home : other(&random) & mask
    default:
      // No store goes to these addresses.
      return bar.is64Bit ? (random.next() | 1 << 40) & mask : 0xF000_0000 & mask
    }
  }

  /// Returns the original address of a BAR of a random sturdy function.
  private static func other(_ random: inout Random) -> UInt64 {
    let function = Table.function(UInt32(random.next(below: shared_load(Table.count))))
    guard !function.isFragile, let bar = function.bar(UInt8(random.next(below: 6))), bar.isMemory else {
      return sturdyRAM
    }
    return bar.home
  }

  /// Returns a port for an I/O BAR. Fragile functions stay at 0xC000 and above, because no OUT goes there.
  private static func port(_ function: Table.Function, _ bar: Table.Slot, _ random: inout Random) -> UInt64 {
    if random.chance(2) { return bar.home }
    if function.isFragile { return 0xC000 + random.next(below: 0x4000) }
    switch random.next(below: 4) {
    case 0: return 0x3F8
    case 1: return 0xCF8
    case 2: return 0xFFFF
    default: return random.next(below: 0x1_0000)
    }
  }

  /// Returns an address for a read: in a BAR at its present or original address, near its end, in RAM that a
  /// BAR may cover, or in the ECAM.
  static func load(_ random: inout Random) -> UInt64 {
    if random.chance(16) { return 0xE000_0000 + random.next(below: 0x10_0010) }
    if random.chance(32) { return sturdyRAM + random.next(below: 0x400_0000 - 0x8000) }
    let function = Table.function(UInt32(random.next(below: shared_load(Table.count))))
    guard let bar = function.bar(UInt8(random.next(below: 6))), bar.isMemory else { return sturdyHigh }
    let address = function.address(bar.index)
    let base = random.chance(3) || !isMapped(address, bar.size) ? bar.home : address
    return base + offset(bar.size, &random)
  }

  /// Returns an address for a write of `length` bytes to registers that tolerate any value, or nil if the
  /// random choice is not such an address.
  static func store(_ length: UInt64, _ random: inout Random) -> UInt64? {
    let function = Table.function(UInt32(random.next(below: shared_load(Table.count))))
    guard !function.isFragile, let bar = function.bar(UInt8(random.next(below: 6))), bar.isMemory else {
      return random.chance(2) ? sturdyRAM + random.next(below: 0x100_0000) & ~0xFF | 0x100 : nil
    }
    let base = function.address(bar.index)
    let isHigh = base >= sturdyHigh && base - sturdyHigh < highSize - bar.size
    let offset = offset(bar.size, &random)
    // The addresses after the BAR may belong to a fragile function.
    guard offset + length <= bar.size else { return nil }
    let address = (random.chance(3) || !isHigh ? bar.home : base) + offset
    return isStorable(address, length) ? address : nil
  }

  /// Returns false for offsets of edu's registers that start a factorial or DMA. edu's BAR has 1 MiB, so the
  /// offset is independent of its address. QEMU's edu aborts QEMU for a transfer outside its buffer, and
  /// would compute a factorial of 2^32.
  private static func isStorable(_ address: UInt64, _ length: UInt64) -> Bool {
    let offset = address & 0xF_FFFF
    let end = offset + length
    return offset >= 0xA0 && end <= 0x10_0000 || offset >= 0x10 && end <= 0x80
  }

  /// Returns true if the guest maps the addresses: below 4 GiB, or in a range that ``prepare()`` maps.
  private static func isMapped(_ address: UInt64, _ size: UInt64) -> Bool {
    if address < 0x1_0000_0000 { return address &+ size <= 0x1_0000_0000 - 0x1000 }
    return address >= sturdyHigh && address < sturdyHigh + highSize - size
      || address >= fragileHigh && address < fragileHigh + highSize - size
  }

  /// Returns an offset in a BAR. Offsets near the beginning, near borders of pages and windows, and across
  /// the end are more frequent.
  private static func offset(_ size: UInt64, _ random: inout Random) -> UInt64 {
    let any = random.next(below: 0x1_0000_0000) & (size - 1)
    switch random.next(below: 6) {
    case 0: return random.next(below: min(size, 0x100))
    case 1: return size - 1 - random.next(below: min(size, 16))
    case 2: return max(any & ~0xFFF, 8) - 1 - random.next(below: 7)
    case 3: return max(any & ~0x1F_FFFF, 8) - 1 - random.next(below: 7)
    case 4: return any & ~7
    default: return any
    }
  }

  /// Returns a port of the platform, a port of a BAR, or any port.
  static func port(_ random: inout Random) -> UInt16 {
    let known: InlineArray<16, UInt16> = [
      0x3F8, 0x3FD, 0x3F5, 0x60, 0x64, 0x92, 0x70, 0x80, 0x505, 0x600, 0xCF8, 0xCFC, 0xCFF, 0xF4, 0xFFFC,
      0xFFFF,
    ]
    switch random.next(below: 3) {
    case 0: return known[Int(random.next(below: 16))] &+ UInt16(random.next(below: 4))
    case 1:
      let function = Table.function(UInt32(random.next(below: shared_load(Table.count))))
      guard let bar = function.bar(UInt8(random.next(below: 6))), !bar.isMemory else { return 0x3FE }
      return UInt16(truncatingIfNeeded: function.address(bar.index) &+ random.next(below: bar.size + 4))
    default: return UInt16(random.next(below: 0x1_0000))
    }
  }

  /// Returns false for ports that end the VM, that select configuration space, or that may belong to a
  /// fragile function.
  static func takesOutput(_ port: UInt16, _ width: UInt16) -> Bool {
    for index in 0..<width {
      switch port &+ index {
      case 0x64, 0x92, 0xF4...0xF7, 0x505, 0x600, 0xCF8...0xCFF, 0xC000...0xFFFF: return false
      default: continue
      }
    }
    return true
  }
}
