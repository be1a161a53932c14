// SPDX-License-Identifier: Apache-2.0

/// The configurable parts of a machine.
public struct Platform: Sendable, Equatable {
  /// The number of vCPUs. Their APIC IDs start at 0.
  public let cpus: Int
  /// The 64-bit window for BARs (GPA). It may be empty.
  public let pciWindow64: Range<UInt64>
  /// The number of the last PCI bus. The root bus is 0, and each root port has the next bus.
  public let lastBus: UInt8
  /// The devices at I/O ports that ACPI describes to the guest.
  public let devices: [PlatformDevice]

  /// The maximum number of CPUs with 8-bit APIC IDs. APIC ID 255 is the broadcast address.
  public static let maximumCPUs = 255

  /// Creates the description of a machine.
  public init(cpus: Int, pciWindow64: Range<UInt64>, lastBus: UInt8 = 0, devices: [PlatformDevice] = []) {
    self.cpus = cpus
    self.pciWindow64 = pciWindow64
    self.lastBus = lastBus
    self.devices = devices
  }
}

/// A device at I/O ports, described in the DSDT.
public struct PlatformDevice: Sendable, Equatable {
  /// The device's name in the ACPI namespace, four characters.
  public let name: String
  /// `_HID`: an EISA ID (`PNP0501`) or an ACPI ID.
  public let identity: String
  /// `_UID`, or nil.
  public let number: UInt64?
  /// The device's I/O ports.
  public let ports: ClosedRange<UInt16>
  /// The device's edge-triggered GSI, or nil.
  public let gsi: UInt32?

  /// Creates the description of a device.
  public init(
    name: String, identity: String, number: UInt64? = nil, ports: ClosedRange<UInt16>, gsi: UInt32? = nil
  ) {
    self.name = name
    self.identity = identity
    self.number = number
    self.ports = ports
    self.gsi = gsi
  }
}
