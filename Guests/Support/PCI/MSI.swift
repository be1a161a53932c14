// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A function's MSI capability (PCIe 6.0 §6.1.4, §7.7.1).
struct MSI {
  private let function: PCIFunction
  /// The capability's offset in configuration space.
  private let capability: UInt16
  /// True if the message address has 64 bits.
  let is64Bit: Bool
  /// True if each vector has a mask bit and a pending bit.
  let hasMasks: Bool
  /// The binary logarithm of the number of vectors.
  let countLog2: UInt16

  /// The number of vectors.
  var count: UInt32 { 1 << UInt32(countLog2) }

  private static let identity: UInt8 = 0x05
  private static let control: UInt16 = 2
  private static let enableBit: UInt16 = 1

  init?(_ function: PCIFunction) {
    guard let capability = function.capability(Self.identity) else { return nil }
    let control = function.load16(capability + Self.control)
    self.function = function
    self.capability = capability
    is64Bit = control & 1 << 7 != 0
    hasMasks = control & 1 << 8 != 0
    countLog2 = control >> 1 & 7
  }

  private var dataOffset: UInt16 { capability + (is64Bit ? 0xC : 8) }

  /// Writes MSI Enable and Multiple Message Enable.
  ///
  /// - Parameter countLog2: The binary logarithm of the number of enabled vectors.
  func enable(_ on: Bool, countLog2: UInt16 = 0) {
    let offset = capability + Self.control
    let value = function.load16(offset) & ~(7 << 4 | Self.enableBit)
    function.store16(offset, value | countLog2 << 4 | (on ? Self.enableBit : 0))
  }

  var isEnabled: Bool { function.load16(capability + Self.control) & Self.enableBit != 0 }

  /// The value of Multiple Message Enable.
  var enabledCountLog2: UInt16 { function.load16(capability + Self.control) >> 4 & 7 }

  /// Sets the destination of the messages. Vector N raises `interrupt` + N.
  ///
  /// - Parameter interrupt: A multiple of the number of enabled vectors.
  func route(processor: UInt32, interrupt: UInt32) {
    let address = LocalAPIC.messageAddress(processor)
    function.store32(capability + 4, UInt32(truncatingIfNeeded: address))
    if is64Bit { function.store32(capability + 8, UInt32(address >> 32)) }
    function.store16(dataOffset, UInt16(interrupt))
  }

  /// Returns true if the messages have this destination.
  func isRouted(processor: UInt32, interrupt: UInt32) -> Bool {
    UInt64(function.load32(capability + 4)) == LocalAPIC.messageAddress(processor)
      && (!is64Bit || function.load32(capability + 8) == 0)
      && UInt32(function.load16(dataOffset)) == interrupt
  }

  /// Writes the mask bit of a vector. Requires `hasMasks`.
  func mask(_ vector: UInt32, _ on: Bool) {
    let value = function.load32(dataOffset + 4)
    function.store32(dataOffset + 4, on ? value | 1 << vector : value & ~(1 << vector))
  }

  /// Reads the pending bit of a vector. Requires `hasMasks`.
  func isPending(_ vector: UInt32) -> Bool { function.load32(dataOffset + 8) >> vector & 1 != 0 }
}
