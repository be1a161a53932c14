// SPDX-License-Identifier: Apache-2.0

import Hardware

/// QEMU's e1000e, an Intel 82574 network controller (82574 datasheet §10). A guest can make it raise INTx,
/// MSI or MSI-X interrupts.
struct E1000e {
  let function: PCIFunction
  var bar: BAR

  /// Offsets of registers in BAR 0.
  enum Register {
    static let cause: UInt64 = 0xC0
    static let causeSet: UInt64 = 0xC8
    static let maskSet: UInt64 = 0xD0
    static let maskClear: UInt64 = 0xD8
    static let vectors: UInt64 = 0xE4
    /// The first receive address. A reset loads it from the EEPROM.
    static let receiveAddress: UInt64 = 0x5400
  }

  /// The cause of receive queue 0. It has no effect except an interrupt.
  static let receiveQueue: UInt32 = 1 << 20

  static func find() -> E1000e? {
    guard let function = PCIBus.find(vendor: 0x8086, device: 0x10D3), let bar = BAR.usable(function, 0)
    else { return nil }
    return E1000e(function: function, bar: bar)
  }

  private func store(_ register: UInt64, _ value: UInt32) { mmio_store32(bar.address + register, value) }

  /// Clears all causes, enables the receive queue's cause, and assigns MSI-X vector 0 to it.
  func prepare() {
    store(Register.maskClear, .max)
    store(Register.cause, .max)
    store(Register.vectors, 1 << 3)
    allow(true)
  }

  /// Enables or disables interrupts for the receive queue's cause. A cause that is set when interrupts are
  /// enabled raises an interrupt.
  func allow(_ on: Bool) { store(on ? Register.maskSet : Register.maskClear, Self.receiveQueue) }

  /// Raises the receive queue's cause.
  func raise() { store(Register.causeSet, Self.receiveQueue) }
}
