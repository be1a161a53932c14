// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The I/O APIC (Intel 82093AA datasheet §3).
enum IOAPIC {
  private static let base: UInt64 = 0xFEC0_0000
  private static let select = base
  private static let window = base + 0x10

  private enum Register {
    static let version: UInt32 = 1
    static let firstEntry: UInt32 = 0x10
  }

  /// Bits of the lower half of a redirection table entry.
  private enum Entry {
    static let activeLow: UInt32 = 1 << 13
    static let levelTriggered: UInt32 = 1 << 15
    static let masked: UInt32 = 1 << 16
  }

  private static func load(_ register: UInt32) -> UInt32 {
    mmio_store32(select, register)
    return mmio_load32(window)
  }

  private static func store(_ register: UInt32, _ value: UInt32) {
    mmio_store32(select, register)
    mmio_store32(window, value)
  }

  /// The number of inputs.
  static var inputs: UInt32 { (load(Register.version) >> 16 & 0xFF) + 1 }

  /// Routes an input to a processor and unmasks it. The input is level-triggered and active low, as PCI
  /// requires.
  static func route(_ input: UInt32, processor: UInt32, interrupt: UInt32) {
    let entry = Register.firstEntry + input * 2
    store(entry, Entry.masked)
    store(entry + 1, processor << 24)
    store(entry, Entry.activeLow | Entry.levelTriggered | interrupt)
  }

  /// Writes the mask bit of an input.
  static func mask(_ input: UInt32, _ on: Bool) {
    let entry = Register.firstEntry + input * 2
    let value = load(entry)
    store(entry, on ? value | Entry.masked : value & ~Entry.masked)
  }
}
