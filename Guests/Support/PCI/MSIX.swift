// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A function's MSI-X capability, table and pending bits (PCIe 6.0 §6.1.4, §7.7.2).
struct MSIX {
  private let function: PCIFunction
  /// The capability's offset in configuration space.
  private let capability: UInt16
  /// Guest-physical addresses of the table and the PBA.
  private(set) var tableAddress: UInt64
  private(set) var pendingAddress: UInt64
  /// The number of vectors.
  let count: UInt32

  private static let identity: UInt8 = 0x11
  private static let control: UInt16 = 2
  private static let enableBit: UInt16 = 1 << 15
  private static let maskBit: UInt16 = 1 << 14

  /// Creates the capability, or returns nil if the function has none or a BAR is unusable.
  init?(_ function: PCIFunction) {
    guard let capability = function.capability(Self.identity) else { return nil }
    let table = function.load32(capability + 4)
    let pending = function.load32(capability + 8)
    guard let tableBAR = BAR.usable(function, UInt8(table & 7)),
      let pendingBAR = BAR.usable(function, UInt8(pending & 7))
    else { return nil }
    self.function = function
    self.capability = capability
    tableAddress = tableBAR.address + UInt64(table & ~7)
    pendingAddress = pendingBAR.address + UInt64(pending & ~7)
    count = UInt32(function.load16(capability + Self.control) & 0x7FF) + 1
  }

  /// Updates both addresses after a move of the BAR that holds the table and the PBA.
  mutating func move(from old: UInt64, to new: UInt64) {
    tableAddress = tableAddress &- old &+ new
    pendingAddress = pendingAddress &- old &+ new
  }

  private func set(_ bit: UInt16, _ on: Bool) {
    let offset = capability + Self.control
    let value = function.load16(offset)
    function.store16(offset, on ? value | bit : value & ~bit)
  }

  /// Writes MSI-X Enable.
  func enable(_ on: Bool) { set(Self.enableBit, on) }

  /// Writes Function Mask.
  func maskFunction(_ on: Bool) { set(Self.maskBit, on) }

  private func entry(_ vector: UInt32) -> UInt64 { tableAddress + UInt64(vector) * 16 }

  /// Sets a vector's message to a fixed, edge-triggered interrupt. Keeps the vector's mask bit.
  func route(_ vector: UInt32, processor: UInt32, interrupt: UInt32) {
    let address = LocalAPIC.messageAddress(processor)
    mmio_store32(entry(vector), UInt32(truncatingIfNeeded: address))
    mmio_store32(entry(vector) + 4, UInt32(address >> 32))
    mmio_store32(entry(vector) + 8, interrupt)
  }

  /// Returns true if a vector's message has this destination.
  func isRouted(_ vector: UInt32, processor: UInt32, interrupt: UInt32) -> Bool {
    UInt64(mmio_load32(entry(vector))) == LocalAPIC.messageAddress(processor)
      && mmio_load32(entry(vector) + 4) == 0 && mmio_load32(entry(vector) + 8) == interrupt
  }

  /// Writes the mask bit of a vector.
  func mask(_ vector: UInt32, _ on: Bool) { mmio_store32(entry(vector) + 12, on ? 1 : 0) }

  func isMasked(_ vector: UInt32) -> Bool { mmio_load32(entry(vector) + 12) & 1 != 0 }

  /// Reads the pending bit of a vector.
  func isPending(_ vector: UInt32) -> Bool {
    mmio_load64(pendingAddress + UInt64(vector / 64) * 8) >> UInt64(vector % 64) & 1 != 0
  }
}
