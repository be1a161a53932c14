// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The root system description pointer (ACPI 6.5 §5.2.5.3).
enum RSDP {
  static let size = 36

  static func bytes(xsdt: GuestAddress) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append("RSD PTR ", width: 8, fill: 0x20)
    bytes.append(0)  // checksum of the first 20 bytes
    bytes.append(ACPI.oem, width: 6, fill: 0x20)
    bytes.append(2)  // revision
    bytes.append(little: UInt32(0))  // no RSDT
    bytes.append(little: UInt32(size))
    bytes.append(little: xsdt.rawValue)
    bytes += [0, 0, 0, 0]  // extended checksum, reserved
    bytes[8] = ACPI.checksum(bytes.prefix(20))
    bytes[32] = ACPI.checksum(bytes)
    return bytes
  }
}

/// The extended system description table (ACPI 6.5 §5.2.8): the addresses of the other tables.
enum XSDT {
  static func size(entries: Int) -> Int { ACPI.headerSize + 8 * entries }

  static func bytes(_ tables: [GuestAddress]) -> [UInt8] {
    var body: [UInt8] = []
    for table in tables { body.append(little: table.rawValue) }
    return ACPI.table("XSDT", revision: 1, body: body)
  }
}
