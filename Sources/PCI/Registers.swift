// SPDX-License-Identifier: Apache-2.0

/// Offsets in the type 0 configuration header (PCI 3.0 §6.1, PCIe 6.0 §7.5.1).
public enum ConfigOffset {
  /// Vendor ID, 2 bytes.
  public static let vendor = 0x00
  /// Command, 2 bytes.
  public static let command = 0x04
  /// Status, 2 bytes.
  public static let status = 0x06
  /// Revision and class code, 4 bytes.
  public static let classRevision = 0x08
  /// Cache line size, 1 byte.
  public static let cacheLineSize = 0x0C
  /// Latency timer, 1 byte.
  public static let latencyTimer = 0x0D
  /// Header type, 1 byte.
  public static let headerType = 0x0E
  /// BAR 0. BAR n is 4n bytes after it.
  public static let bar0 = 0x10
  /// CardBus CIS pointer, 4 bytes.
  public static let cardBus = 0x28
  /// Subsystem vendor ID and subsystem ID, 4 bytes.
  public static let subsystem = 0x2C
  /// Expansion ROM base address, 4 bytes.
  public static let rom = 0x30
  /// Pointer to the first capability, 1 byte.
  public static let capabilities = 0x34
  /// Interrupt line, 1 byte.
  public static let interruptLine = 0x3C
  /// Interrupt pin, 1 byte.
  public static let interruptPin = 0x3D
  /// The end of the header.
  public static let headerEnd = 0x40
  /// The offset of the first extended capability.
  public static let extended = 0x100
}

/// The command register (PCIe 6.0 §7.5.1.1.3).
public struct Command: OptionSet, Sendable {
  /// The register's bits.
  public let rawValue: UInt16
  /// Creates a value from the register's bits.
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// The function answers I/O accesses.
  public static let ioSpace = Command(rawValue: 1 << 0)
  /// The function answers memory accesses.
  public static let memorySpace = Command(rawValue: 1 << 1)
  /// The function may issue memory requests, including message-signalled interrupts.
  public static let busMaster = Command(rawValue: 1 << 2)
  /// Parity error response.
  public static let parityErrorResponse = Command(rawValue: 1 << 6)
  /// SERR# enable.
  public static let systemErrorEnable = Command(rawValue: 1 << 8)
  /// The function may not assert its interrupt pin.
  public static let interruptDisable = Command(rawValue: 1 << 10)

  /// The bits that a function may hardwire to 0 whatever its BARs.
  public static let optional: Command = [.parityErrorResponse, .systemErrorEnable]
}

/// The power state of a function, as in PMCSR bits 1:0 (PCI PM 1.2 §3.2.4).
public enum PowerState: UInt8, Sendable {
  /// Fully on.
  case d0
  /// Light sleep; memory and I/O space are off.
  case d1
  /// Deeper sleep; memory and I/O space are off.
  case d2
  /// Off with main power still on; memory and I/O space are off.
  case d3hot
}

/// Capability IDs (PCI Code and ID Assignment §2).
public enum CapabilityID {
  /// Power management.
  public static let powerManagement: UInt8 = 0x01
  /// Vital product data.
  public static let vitalProductData: UInt8 = 0x03
  /// MSI.
  public static let messageSignaled: UInt8 = 0x05
  /// Vendor-specific.
  public static let vendorSpecific: UInt8 = 0x09
  /// PCI Express.
  public static let express: UInt8 = 0x10
  /// MSI-X.
  public static let msix: UInt8 = 0x11
  /// Serial ATA: the location of the index and data registers.
  public static let serialATA: UInt8 = 0x12
  /// Advanced features: FLR for conventional functions.
  public static let advancedFeatures: UInt8 = 0x13
}

/// Extended capability IDs (PCI Code and ID Assignment §3).
public enum ExtendedCapabilityID {
  /// Advanced error reporting.
  public static let errorReporting: UInt16 = 0x0001
  /// Device serial number.
  public static let serialNumber: UInt16 = 0x0003
  /// Vendor-specific.
  public static let vendorSpecific: UInt16 = 0x000B
  /// Access control services.
  public static let accessControl: UInt16 = 0x000D
  /// Resizable BAR.
  public static let resizableBAR: UInt16 = 0x0015
}

/// Little-endian numbers in an array of bytes, as in configuration space.
extension Array where Element == UInt8 {
  func number(at offset: Int, width: Int) -> UInt32 {
    guard offset >= 0, offset + width <= count else { return UInt32.max >> UInt32(32 - width * 8) }
    return (0..<width).reduce(0) { $0 | UInt32(self[offset + $1]) << UInt32($1 * 8) }
  }

  package mutating func set(_ value: UInt32, at offset: Int, width: Int) {
    for index in 0..<width { self[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(index * 8)) }
  }
}
