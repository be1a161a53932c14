// SPDX-License-Identifier: Apache-2.0

import Hardware

/// An Intel 82574 network controller (82574 datasheet §10), as QEMU's e1000e: a device that raises
/// an interrupt of any kind when it is told to.
struct E1000e {
  let function: PCIFunction
  var bar: BAR

  /// Registers, as offsets in BAR 0.
  enum Register {
    static let cause: UInt64 = 0xC0
    static let causeSet: UInt64 = 0xC8
    static let maskSet: UInt64 = 0xD0
    static let maskClear: UInt64 = 0xD8
    static let vectors: UInt64 = 0xE4
    /// The first address for which it receives, which a reset takes from the EEPROM.
    static let receiveAddress: UInt64 = 0x5400
  }

  /// Receive queue 0's cause: nothing but an interrupt comes of it.
  static let receiveQueue: UInt32 = 1 << 20

  static func find() -> E1000e? {
    guard let function = PCIBus.find(vendor: 0x8086, device: 0x10D3), let bar = BAR.usable(function, 0)
    else { return nil }
    return E1000e(function: function, bar: bar)
  }

  private func store(_ register: UInt64, _ value: UInt32) { mmio_store32(bar.address + register, value) }

  /// Takes every cause away, lets the receive queue's through, and gives it MSI-X vector 0.
  func prepare() {
    store(Register.maskClear, .max)
    store(Register.cause, .max)
    store(Register.vectors, 1 << 3)
    allow(true)
  }

  /// Whether the receive queue's cause leads to an interrupt. When it is let through again what is
  /// there leads to one.
  func allow(_ on: Bool) { store(on ? Register.maskSet : Register.maskClear, Self.receiveQueue) }

  /// Raises the receive queue's cause.
  func raise() { store(Register.causeSet, Self.receiveQueue) }
}
