// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The fixed ACPI description table (ACPI 6.5 §5.2.9) of a hardware-reduced machine.
enum FADT {
  /// The size of the table with its header in ACPI 6.5, in bytes.
  static let size = 276

  /// "Fixed ACPI Description Table Fixed Feature Flags" (§5.2.9, table 5.10).
  private enum Feature {
    static let writeBackInvalidate: UInt32 = 1 << 0  // WBINVD works
    static let noPowerButton: UInt32 = 1 << 4  // no fixed power button
    static let noSleepButton: UInt32 = 1 << 5
    static let resetRegister: UInt32 = 1 << 10
    static let headless: UInt32 = 1 << 12
    static let hardwareReduced: UInt32 = 1 << 20
  }

  /// "IA-PC Boot Architecture Flags" (§5.2.9.3). Bits 0 and 1 stay clear: no ISA devices beyond
  /// those in the DSDT, and no 8042.
  private enum BootArchitecture {
    static let noVGA: UInt16 = 1 << 2
    static let noASPM: UInt16 = 1 << 4  // the host controls the links
    static let noCMOSClock: UInt16 = 1 << 5
  }

  private enum Offset {
    static let dsdt = 40
    static let bootArchitecture = 109
    static let flags = 112
    static let resetRegister = 116
    static let resetValue = 128
    static let minorVersion = 131
    static let extendedDSDT = 140
    static let sleepControl = 244
    static let sleepStatus = 256
    static let hypervisor = 268
  }

  private static let majorVersion: UInt8 = 6
  private static let minorVersion: UInt8 = 5

  static func bytes(dsdt: GuestAddress) -> [UInt8] {
    var table = [UInt8](repeating: 0, count: size)
    table.set(UInt32(truncatingIfNeeded: dsdt.rawValue), at: Offset.dsdt)
    table.set(
      BootArchitecture.noVGA | BootArchitecture.noASPM | BootArchitecture.noCMOSClock,
      at: Offset.bootArchitecture)
    table.set(
      Feature.writeBackInvalidate | Feature.noPowerButton | Feature.noSleepButton
        | Feature.resetRegister | Feature.headless | Feature.hardwareReduced,
      at: Offset.flags)
    table.set(port: PlatformLayout.reset, at: Offset.resetRegister)
    table.set(PlatformLayout.resetValue, at: Offset.resetValue)
    table.set(minorVersion, at: Offset.minorVersion)
    table.set(dsdt.rawValue, at: Offset.extendedDSDT)
    table.set(port: PlatformLayout.sleepControl, at: Offset.sleepControl)
    table.set(port: PlatformLayout.sleepStatus, at: Offset.sleepStatus)
    table.replaceSubrange(Offset.hypervisor..<size, with: Array("SLUICE\0\0".utf8))
    return ACPI.table("FACP", revision: majorVersion, body: Array(table[ACPI.headerSize...]))
  }
}

extension [UInt8] {
  /// Writes a generic address structure (ACPI 6.5 §5.2.3.2) for a byte-wide I/O port.
  fileprivate mutating func set(port: UInt16, at offset: Int) {
    self[offset] = 1  // system I/O
    self[offset + 1] = 8  // bits
    self[offset + 2] = 0  // bit offset
    self[offset + 3] = 1  // byte access
    set(UInt64(port), at: offset + 4)
  }
}
