// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A function's expansion ROM (PCIe 6.0 §7.5.1.2.4; PCI Firmware 3.0 §5.1).
struct ROM {
  private let function: PCIFunction
  /// Guest-physical address, or 0 if unassigned.
  let address: UInt64
  /// The size in bytes, a power of two.
  let size: UInt64

  private static let addressMask: UInt32 = 0xFFFF_F800
  private static let enableBit: UInt32 = 1

  /// Sizes the ROM, with memory decoding off during the sizing. Returns nil if the function has no ROM.
  init?(_ function: PCIFunction) {
    let saved = function.load32(PCIFunction.Register.rom)
    let command = function.command
    function.store16(PCIFunction.Register.command, command & ~PCIFunction.Command.memory)
    function.store32(PCIFunction.Register.rom, Self.addressMask)
    let mask = function.load32(PCIFunction.Register.rom) & Self.addressMask
    function.store32(PCIFunction.Register.rom, saved)
    function.store16(PCIFunction.Register.command, command)
    guard mask != 0 else { return nil }
    self.function = function
    address = UInt64(saved & Self.addressMask)
    size = UInt64(~mask) + 1
  }

  var isEnabled: Bool { function.load32(PCIFunction.Register.rom) & Self.enableBit != 0 }

  func enable(_ on: Bool) {
    let value = function.load32(PCIFunction.Register.rom)
    function.store32(PCIFunction.Register.rom, on ? value | Self.enableBit : value & ~Self.enableBit)
  }

  /// The sum of all bytes, each multiplied by a power of 31. The lab compares it with a checksum from the
  /// host.
  var checksum: UInt32 {
    var sum: UInt32 = 0
    for offset in stride(from: UInt64(0), to: size, by: 8) {
      let word = mmio_load64(address + offset)
      for shift in stride(from: UInt64(0), to: 64, by: 8) {
        sum = sum &* 31 &+ UInt32(truncatingIfNeeded: word >> shift & 0xFF)
      }
    }
    return sum
  }
}
