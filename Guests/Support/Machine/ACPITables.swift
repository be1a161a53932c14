// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The ACPI tables, found through the RSDP (ACPI 6.5 §5.2).
struct ACPITables {
  /// Guest-physical address, or 0 if there is none.
  let rsdp: UInt64

  /// Calls `body` with the address of each table that the root table lists.
  func forEachTable(_ body: (UInt64) -> Void) {
    guard rsdp != 0 else { return }
    // An RSDP before revision 2 has only the RSDT, with 32-bit addresses.
    let isExtended = mmio_load8(rsdp + 15) >= 2
    let root = isExtended ? mmio_load64(rsdp + 24) : UInt64(mmio_load32(rsdp + 16))
    let width: UInt64 = isExtended ? 8 : 4
    let end = UInt64(mmio_load32(root + 4))
    var offset: UInt64 = 36
    while offset + width <= end {
      body(isExtended ? mmio_load64(root + offset) : UInt64(mmio_load32(root + offset)))
      offset += width
    }
  }

  /// Returns the address of the table with a signature, or nil. The signature is a little-endian number.
  @inline(never)
  private func table(_ signature: UInt32) -> UInt64? {
    var found: UInt64?
    forEachTable { address in
      if found == nil, mmio_load32(address) == signature { found = address }
    }
    return found
  }

  private var fadt: UInt64? { table(0x5043_4146) }  // "FACP"
  private var mcfg: UInt64? { table(0x4746_434D) }  // "MCFG"
  private var madt: UInt64? { table(0x4349_5041) }  // "APIC"

  /// Returns true if the MADT lists an enabled processor with a local APIC ID, or if there is no MADT.
  func hasProcessor(_ id: UInt32) -> Bool {
    guard let madt else { return true }
    let end = UInt64(mmio_load32(madt + 4))
    var offset: UInt64 = 44
    while offset + 8 <= end {
      let entry = madt + offset
      if mmio_load8(entry) == 0, UInt32(mmio_load8(entry + 3)) == id, mmio_load32(entry + 4) & 1 != 0 {
        return true
      }
      offset += UInt64(max(2, mmio_load8(entry + 1)))
    }
    return false
  }

  /// The DSDT's address, or nil.
  var dsdt: UInt64? {
    guard let fadt else { return nil }
    let long = mmio_load32(fadt + 4) >= 148 ? mmio_load64(fadt + 140) : 0
    return long != 0 ? long : UInt64(mmio_load32(fadt + 40))
  }

  /// Returns the sum of the bytes of a table with a header. The sum must be 0.
  static func sum(_ table: UInt64) -> UInt8 {
    var sum: UInt8 = 0
    for offset in 0..<UInt64(mmio_load32(table + 4)) { sum &+= mmio_load8(table + offset) }
    return sum
  }

  /// The base address and last bus number of the ECAM of segment 0, or nil.
  var ecam: (base: UInt64, lastBus: UInt8)? {
    guard let mcfg, mmio_load32(mcfg + 4) >= 60 else { return nil }
    return (mmio_load64(mcfg + 44), mmio_load8(mcfg + 55))
  }

  /// Returns true if one of the DSDT's memory windows contains a range of addresses.
  ///
  /// The function scans the DSDT for the first bytes of the descriptors (ACPI 6.5 §6.4.3.5). A test guest
  /// needs no AML parser for this.
  @inline(never)
  func hasMemoryWindow(over start: UInt64, size: UInt64) -> Bool {
    guard let dsdt else { return false }
    let end = UInt64(mmio_load32(dsdt + 4))
    var offset: UInt64 = 36
    while offset + 46 <= end {
      let address = dsdt + offset
      offset += 1
      let first: UInt64
      let last: UInt64
      switch mmio_load32(address) {
      case 0x0000_1787:  // DWordMemory
        first = UInt64(mmio_load32(address + 10))
        last = UInt64(mmio_load32(address + 14))
      case 0x0000_2B8A:  // QWordMemory
        first = mmio_load64(address + 14)
        last = mmio_load64(address + 22)
      default: continue
      }
      if start >= first, size > 0, start &+ (size - 1) <= last { return true }
    }
    return false
  }

  private enum Offset {
    static let pm1Control: UInt64 = 64
    static let flags: UInt64 = 112
    static let resetRegister: UInt64 = 116
    static let resetValue: UInt64 = 128
    static let sleepControl: UInt64 = 244
  }

  private static let hardwareReduced: UInt32 = 1 << 20

  /// Enters soft off (S5). Returns if there is no FADT.
  func powerOff() {
    guard let fadt else { return }
    if mmio_load32(fadt + Offset.flags) & Self.hardwareReduced != 0 {
      let port = UInt16(truncatingIfNeeded: mmio_load64(fadt + Offset.sleepControl + 4))
      // SLP_EN, and SLP_TYP 5 from Sluice's _S5.
      port_store8(port, 1 << 5 | 5 << 2)
    } else {
      // SLP_EN, and SLP_TYP 0 from QEMU's _S5.
      port_store16(UInt16(truncatingIfNeeded: mmio_load32(fadt + Offset.pm1Control)), 1 << 13)
    }
  }

  /// Resets the machine through the reset register. Returns if there is no FADT.
  func reset() {
    guard let fadt else { return }
    let port = UInt16(truncatingIfNeeded: mmio_load64(fadt + Offset.resetRegister + 4))
    port_store8(port, mmio_load8(fadt + Offset.resetValue))
  }
}
