// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The multiple APIC description table (ACPI 6.5 §5.2.12).
///
/// The table has no interrupt source overrides. The 8259s are masked and not described (PCAT_COMPAT is
/// clear), and hardware-reduced ACPI has no system timer. Each interrupt input therefore is its own GSI, and the DSDT
/// gives its trigger mode.
enum MADT {
  private enum Kind {
    static let localAPIC: UInt8 = 0
    static let ioapic: UInt8 = 1
    static let localNMI: UInt8 = 4
  }

  static func bytes(cpus: Int) -> [UInt8] {
    var body: [UInt8] = []
    body.append(little: UInt32(PlatformLayout.localAPIC.rawValue))
    body.append(little: UInt32(0))  // flags

    for index in 0..<cpus {
      // The processor's UID in the DSDT, and its APIC ID.
      body += [Kind.localAPIC, 8, UInt8(index), UInt8(index)]
      body.append(little: UInt32(1))  // enabled
    }
    body += [Kind.ioapic, 12, PlatformLayout.ioapicIdentity, 0]
    body.append(little: UInt32(PlatformLayout.ioapic.rawValue))
    body.append(little: UInt32(0))  // first GSI

    // NMI is connected to LINT1 of every processor, with the bus's polarity and trigger mode.
    body += [Kind.localNMI, 6, 0xFF, 0, 0, 1]
    return ACPI.table("APIC", revision: 6, body: body)
  }
}
