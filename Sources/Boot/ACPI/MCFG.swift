// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The memory-mapped configuration table (PCI Firmware 3.3 §4.1.2).
enum MCFG {
  static func bytes(lastBus: UInt8) -> [UInt8] {
    var body = [UInt8](repeating: 0, count: 8)
    body.append(little: PlatformLayout.ecam.lowerBound)
    body.append(little: UInt16(0))  // segment
    body += [0, lastBus]
    body.append(little: UInt32(0))  // reserved
    return ACPI.table("MCFG", revision: 1, body: body)
  }
}
