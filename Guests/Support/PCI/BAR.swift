// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A base address register of an endpoint (PCIe 6.0 §7.5.1.2.1).
struct BAR {
  let index: UInt8
  let isMemory: Bool
  let is64Bit: Bool
  let isPrefetchable: Bool
  /// Guest-physical address, or I/O port.
  let address: UInt64
  /// The size in bytes, a power of two.
  let size: UInt64

  var end: UInt64 { address + size }

  /// Reads a BAR and sizes it. Memory and I/O decoding are off during the sizing.
  ///
  /// - Returns: The BAR, or nil if the register is unimplemented.
  @inline(never)
  static func read(_ function: PCIFunction, _ index: UInt8) -> BAR? {
    let offset = PCIFunction.Register.firstBAR + UInt16(index) * 4
    let low = function.load32(offset)
    let command = function.command
    function.store16(PCIFunction.Register.command, command & ~0b11)
    defer { function.store16(PCIFunction.Register.command, command) }
    function.store32(offset, .max)
    let lowSize = function.load32(offset)
    function.store32(offset, low)
    guard lowSize != 0 else { return nil }
    if low & 1 != 0 {
      let size = UInt64(~(lowSize & ~0b11) & 0xFFFF) + 1
      return BAR(
        index: index, isMemory: false, is64Bit: false, isPrefetchable: false,
        address: UInt64(low & ~0b11), size: size)
    }
    let is64Bit = low & 0b110 == 0b100
    var address = UInt64(low & ~0xF)
    var mask = UInt64(lowSize & ~0xF) | 0xFFFF_FFFF_0000_0000
    if is64Bit {
      let high = function.load32(offset + 4)
      function.store32(offset + 4, .max)
      mask = UInt64(function.load32(offset + 4)) << 32 | UInt64(lowSize & ~0xF)
      function.store32(offset + 4, high)
      address |= UInt64(high) << 32
    }
    return BAR(
      index: index, isMemory: true, is64Bit: is64Bit, isPrefetchable: low & 0b1000 != 0,
      address: address, size: ~mask &+ 1)
  }

  /// Calls `body` with each BAR of a function.
  static func forEach(_ function: PCIFunction, _ body: (BAR) -> Void) {
    var index: UInt8 = 0
    while index < 6 {
      if let bar = read(function, index) {
        body(bar)
        if bar.is64Bit { index += 1 }
      }
      index += 1
    }
  }

  /// Reads a memory BAR and maps it. Assigns an address first if the BAR has none.
  static func usable(_ function: PCIFunction, _ index: UInt8) -> BAR? {
    guard var bar = read(function, index), bar.isMemory else { return nil }
    if bar.address == 0 { bar = bar.placed(function) }
    return PageMap.map(bar.address, size: bar.size) ? bar : nil
  }

  /// Assigns an address if neither firmware nor the hypervisor did. The address is a multiple of the BAR's
  /// size, because the base is a multiple of any size. A guest uses the BARs of one function only, so the
  /// BARs of other functions need no address.
  private func placed(_ function: PCIFunction) -> BAR {
    let base: UInt64 = is64Bit ? 0x40_0000_0000 : 0xD000_0000
    return moved(function, to: base + UInt64(index) * size)
  }

  /// Writes another address into the BAR's registers, with decoding on or off. The caller maps the new
  /// address.
  ///
  /// - Returns: The BAR at the new address.
  @inline(never)
  func moved(_ function: PCIFunction, to address: UInt64) -> BAR {
    let offset = PCIFunction.Register.firstBAR + UInt16(index) * 4
    function.store32(offset, UInt32(truncatingIfNeeded: address))
    if is64Bit { function.store32(offset + 4, UInt32(address >> 32)) }
    return BAR(
      index: index, isMemory: isMemory, is64Bit: is64Bit, isPrefetchable: isPrefetchable,
      address: address, size: size)
  }
}
