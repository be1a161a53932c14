// SPDX-License-Identifier: Apache-2.0

/// The parts of a machine that differ from one machine to the next.
public struct Platform: Sendable, Equatable {
  /// Virtual CPUs, with APIC IDs from 0 on.
  public let cpus: Int
  /// The 64-bit window for BARs in guest-physical addresses; may be empty.
  public let pciWindow64: Range<UInt64>
  /// The devices at I/O ports that the guest finds by ACPI.
  public let devices: [PlatformDevice]

  /// The most CPUs that have an 8-bit APIC ID; 255 is the broadcast address.
  public static let maximumCPUs = 255

  /// Describes a machine.
  public init(cpus: Int, pciWindow64: Range<UInt64>, devices: [PlatformDevice] = []) {
    self.cpus = cpus
    self.pciWindow64 = pciWindow64
    self.devices = devices
  }
}

/// A device at I/O ports, as the DSDT describes it.
public struct PlatformDevice: Sendable, Equatable {
  /// Its name in the namespace, four characters.
  public let name: String
  /// `_HID`: an EISA ID (`PNP0501`) or an ACPI ID.
  public let identity: String
  /// `_UID`, or nil.
  public let number: UInt64?
  /// Its ports.
  public let ports: ClosedRange<UInt16>
  /// Its edge-triggered GSI, or nil.
  public let gsi: UInt32?

  /// Describes a device.
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
