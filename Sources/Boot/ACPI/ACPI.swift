// SPDX-License-Identifier: Apache-2.0

public import GuestMemory

/// The ACPI tables. They describe hardware-reduced ACPI 6.5, which needs no emulated chipset.
public enum ACPI {
  /// Writes a machine's tables into guest RAM.
  ///
  /// - Returns: The RSDP's address, `PlatformLayout.rsdp`.
  public static func install(
    _ platform: Platform, in memory: GuestMemory
  ) throws(BootError) -> GuestAddress {
    guard platform.pciWindow64.isEmpty || platform.pciWindow64.lowerBound >= GuestMemory.holeEnd,
      memory.regions.allSatisfy({
        !platform.pciWindow64.overlaps($0.base.rawValue..<$0.end.rawValue)
      })
    else { throw .unusablePCIWindow(platform.pciWindow64) }
    for table in try Tables(platform).all { try memory.store(table.bytes, at: table.address) }
    return PlatformLayout.rsdp
  }

  /// One table and its address.
  public struct Table: Sendable, Equatable {
    /// `RSD PTR `, `XSDT`, `FACP`, `APIC`, `MCFG` or `DSDT`.
    public let signature: String
    /// The table's GPA, a multiple of 16.
    public let address: GuestAddress
    /// The table with its checksum.
    public let bytes: [UInt8]
  }

  /// All tables of one machine. The first one is at `PlatformLayout.rsdp`.
  public struct Tables: Sendable, Equatable {
    /// The root pointer.
    public let rsdp: Table
    /// The list of tables.
    public let xsdt: Table
    /// The fixed description: sleep and reset registers, and flags for absent PC hardware.
    public let fadt: Table
    /// The interrupt controllers and processors.
    public let madt: Table
    /// The address of ECAM.
    public let mcfg: Table
    /// The devices, in AML.
    public let dsdt: Table

    /// All tables, in ascending order of address.
    public var all: [Table] { [rsdp, xsdt, fadt, madt, mcfg, dsdt] }

    /// Creates the tables of a machine.
    public init(_ platform: Platform) throws(BootError) {
      guard 1...Platform.maximumCPUs ~= platform.cpus else {
        throw .unsupportedCPUCount(platform.cpus)
      }
      var next = PlatformLayout.rsdp
      func reserve(_ size: Int) -> GuestAddress {
        defer { next = GuestAddress((next.rawValue + UInt64(size)).roundedUp(to: 64)) }
        return next
      }
      let rsdpAddress = reserve(RSDP.size)
      let xsdtAddress = reserve(XSDT.size(entries: 3))
      let fadtAddress = reserve(FADT.size)
      let madtBytes = MADT.bytes(cpus: platform.cpus)
      let mcfgBytes = MCFG.bytes(lastBus: platform.lastBus)
      let dsdtBytes = DSDT.bytes(platform)
      madt = Table(signature: "APIC", address: reserve(madtBytes.count), bytes: madtBytes)
      mcfg = Table(signature: "MCFG", address: reserve(mcfgBytes.count), bytes: mcfgBytes)
      dsdt = Table(signature: "DSDT", address: reserve(dsdtBytes.count), bytes: dsdtBytes)
      fadt = Table(
        signature: "FACP", address: fadtAddress, bytes: FADT.bytes(dsdt: dsdt.address))
      xsdt = Table(
        signature: "XSDT", address: xsdtAddress,
        bytes: XSDT.bytes([fadtAddress, madt.address, mcfg.address]))
      rsdp = Table(
        signature: "RSD PTR ", address: rsdpAddress, bytes: RSDP.bytes(xsdt: xsdtAddress))
      guard next <= PlatformLayout.acpiEnd else {
        throw .tablesTooLarge(
          size: next.rawValue - rsdpAddress.rawValue,
          room: PlatformLayout.acpiEnd.rawValue - rsdpAddress.rawValue)
      }
    }
  }

  /// Prepends a table header (ACPI 6.5 §5.2.6), with length and checksum, to a table's body.
  static func table(_ signature: String, revision: UInt8, body: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(signature, width: 4, fill: 0x20)
    bytes.append(little: UInt32(headerSize + body.count))
    bytes.append(revision)
    bytes.append(0)  // checksum
    bytes.append(oem, width: 6, fill: 0x20)
    bytes.append(oem, width: 8, fill: 0x20)
    bytes.append(little: UInt32(1))  // OEM revision
    bytes.append(oem, width: 4, fill: 0x20)  // creator
    bytes.append(little: UInt32(1))  // creator revision
    bytes += body
    bytes[9] = checksum(bytes)
    return bytes
  }

  /// Returns the byte that makes the sum of all bytes zero.
  static func checksum(_ bytes: some Sequence<UInt8>) -> UInt8 { 0 &- bytes.reduce(0, &+) }

  static let headerSize = 36
  static let oem = "SLUICE"
}
