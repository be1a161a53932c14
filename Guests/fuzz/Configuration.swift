// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Writes of configuration space with any value. A filter changes or rejects bytes that would harm the guest.
enum Configuration {
  /// Filters a byte before a write.
  ///
  /// - Parameters:
  ///   - address: The byte's offset in the ECAM.
  ///   - byte: A random value.
  /// - Returns: The allowed value, or nil if the guest must not write the byte.
  private static func filtered(_ address: UInt64, _ byte: UInt8) -> UInt8? {
    guard address >> 12 & 7 == 0, address < 0x10_0000,
      let function = Table.function(inSlot: UInt8(address >> 15 & 31))
    else { return byte }
    let offset = UInt16(address & 0xFFF)
    // Random values in its registers would start DMA to any address.
    if offset == 4, function.hasEngine { return byte & ~4 }
    // Stores must not reach its BARs.
    if 0x10...0x27 ~= offset, function.isFragile { return nil }
    if function.msi != 0 {
      let data = function.msi + (function.hasWideMessage ? 0xC : 8)
      // Use a vector that has an entry in the IDT, and fixed or lowest-priority delivery: no INIT, SMI or
      // NMI.
      if offset == data { return byte & 0x1F | 0x20 }
      if offset == data + 1 { return byte & 0xF9 }
    }
    return byte
  }

  /// Writes through the ECAM.
  static func store(_ address: UInt64, _ width: UInt64, _ value: UInt64) {
    let ecam = shared_load(Table.ecam)
    var word: UInt64 = 0
    for index in 0..<width {
      guard let byte = filtered(address + index, UInt8(truncatingIfNeeded: value >> (8 * index))) else {
        return
      }
      word |= UInt64(byte) << (8 * index)
    }
    switch width {
    case 1: mmio_store8(ecam + address, UInt8(truncatingIfNeeded: word))
    case 2: mmio_store16(ecam + address, UInt16(truncatingIfNeeded: word))
    case 4: mmio_store32(ecam + address, UInt32(truncatingIfNeeded: word))
    default: mmio_store64(ecam + address, word)
    }
  }

  /// Writes through ports. Only the first processor calls this, because it owns CONFIG_ADDRESS.
  static func storeByPorts(_ address: UInt64, _ offset: UInt16, _ width: UInt16, _ value: UInt64) {
    port_store32(0xCF8, 1 << 31 | UInt32(address >> 4 & 0xFFF00) | UInt32(address & 0xFC))
    var word: UInt64 = 0
    for index in 0..<width where offset + index < 4 {
      let byte = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
      guard let kept = filtered(address & ~3 + UInt64(offset + index), byte) else { return }
      word |= UInt64(kept) << (8 * UInt64(index))
    }
    switch width {
    case 1: port_store8(0xCFC + offset, UInt8(truncatingIfNeeded: word))
    case 2: port_store16(0xCFC + offset, UInt16(truncatingIfNeeded: word))
    default: port_store32(0xCFC + offset, UInt32(truncatingIfNeeded: word))
    }
  }

  /// Returns an offset in the ECAM: in a function's header or capabilities, in its extended capabilities, or
  /// anywhere on the bus.
  static func address(_ random: inout Random) -> UInt64 {
    let function = Table.function(UInt32(random.next(below: shared_load(Table.count))))
    switch random.next(below: 8) {
    case 0: return random.next(below: 0x10_0000)
    case 1: return function.base + 0x1000 - random.next(below: 9)
    case 2: return function.base + random.next(below: 0x1000)
    case 3: return function.base + random.next(below: 0x40)
    default: return function.base + random.next(below: 0x100)
    }
  }

  static func load16(_ address: UInt64) -> UInt16 { mmio_load16(shared_load(Table.ecam) + address) }
}
