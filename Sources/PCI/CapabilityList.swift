// SPDX-License-Identifier: Apache-2.0

/// A capability of a function (PCI 3.0 §6.7, PCIe 6.0 §7.6 and §7.7).
public struct Capability: Equatable, Sendable {
  /// The capability ID or extended capability ID.
  public let id: UInt16
  /// The offset of its header in configuration space.
  public let offset: Int
  /// The size in bytes, limited by the offset of the next capability.
  public let size: Int
}

/// The capabilities of a function. The guest sees the shown capabilities. Sluice does not support the hidden
/// ones.
public struct CapabilityList: Sendable {
  /// The shown capabilities, in the order of the chain.
  public let shown: [Capability]
  /// The hidden capabilities.
  public let hidden: [Capability]

  /// The IDs of capabilities that work when passed through.
  private static let working: Set<UInt16> = [
    UInt16(CapabilityID.powerManagement), UInt16(CapabilityID.vitalProductData),
    UInt16(CapabilityID.vendorSpecific), UInt16(CapabilityID.express), UInt16(CapabilityID.msix),
    UInt16(CapabilityID.advancedFeatures), UInt16(CapabilityID.messageSignaled),
    UInt16(CapabilityID.serialATA),
  ]

  /// The IDs of extended capabilities that work when passed through.
  private static let workingExtended: Set<UInt16> = [
    ExtendedCapabilityID.errorReporting, ExtendedCapabilityID.serialNumber,
    ExtendedCapabilityID.vendorSpecific, ExtendedCapabilityID.resizableBAR,
  ]

  /// Follows the capability chain in the first 256 bytes. A loop or an offset outside this range ends the
  /// chain.
  public init(_ config: [UInt8]) {
    let offsets = Self.offsets(in: config)
    let found = offsets.map { offset in
      Capability(
        id: UInt16(config.number(at: offset, width: 1)), offset: offset,
        size: Self.size(
          at: offset, config, until: offsets.filter { $0 > offset }.min() ?? ConfigOffset.extended))
    }
    shown = found.filter { Self.isShown($0, config) }
    hidden = found.filter { !Self.isShown($0, config) }
  }

  /// Returns the offsets of the chain in the first 256 bytes, in the order of the chain.
  private static func offsets(in config: [UInt8]) -> [Int] {
    guard config.number(at: ConfigOffset.status, width: 2) & 1 << 4 != 0 else { return [] }
    var offsets: [Int] = []
    var at = Int(config.number(at: ConfigOffset.capabilities, width: 1)) & ~3
    while at >= ConfigOffset.headerEnd, at < ConfigOffset.extended, !offsets.contains(at) {
      offsets.append(at)
      at = Int(config.number(at: at + 1, width: 1)) & ~3
    }
    return offsets
  }

  /// True if the capability is supported and long enough for its emulated registers. A capability that the
  /// next one or the end of the space truncates is hidden.
  private static func isShown(_ capability: Capability, _ config: [UInt8]) -> Bool {
    guard working.contains(capability.id) else { return false }
    switch UInt8(truncatingIfNeeded: capability.id) {
    case CapabilityID.vendorSpecific: return capability.size >= 3
    case CapabilityID.messageSignaled:
      return capability.size >= MSIState.Layout(config, offset: capability.offset).size
    case CapabilityID.msix, CapabilityID.express: return capability.size >= 12
    case CapabilityID.advancedFeatures: return capability.size >= 6
    default: return capability.size >= 8
    }
  }

  /// True if a configuration space has a PCI Express capability of any length (PCIe 6.0 §7.5.3).
  public static func isExpress(_ config: [UInt8]) -> Bool {
    config.count >= ConfigOffset.extended
      && offsets(in: config).contains { config.number(at: $0, width: 1) == UInt32(CapabilityID.express) }
  }

  /// Follows the chain of extended capabilities.
  public init(extended config: [UInt8]) {
    var found: [Capability] = []
    var at = ConfigOffset.extended
    var offsets: [Int] = []
    while at >= ConfigOffset.extended, at + 4 <= config.count, !offsets.contains(at) {
      let header = config.number(at: at, width: 4)
      if header == 0 || header == UInt32.max { break }
      offsets.append(at)
      at = Int(header >> 20) & ~3
    }
    for offset in offsets {
      let end = offsets.filter { $0 > offset }.min() ?? config.count
      found.append(
        Capability(id: UInt16(config.number(at: offset, width: 2)), offset: offset, size: end - offset))
    }
    shown = found.filter { Self.workingExtended.contains($0.id) }
    hidden = found.filter { !Self.workingExtended.contains($0.id) }
  }

  /// Returns the shown capability with an ID, or nil if absent.
  public func first(_ id: UInt8) -> Capability? { shown.first { $0.id == UInt16(id) } }

  /// Returns the length that the capability's specification defines, limited by the offset of the next
  /// capability.
  private static func size(at offset: Int, _ config: [UInt8], until end: Int) -> Int {
    let control = config.number(at: offset + 2, width: 2)
    let nominal: Int
    switch UInt8(config.number(at: offset, width: 1)) {
    case CapabilityID.powerManagement, CapabilityID.vitalProductData: nominal = 8
    case CapabilityID.vendorSpecific: nominal = max(3, Int(control & 0xFF))
    case CapabilityID.express: nominal = control & 0xF >= 2 ? 0x3C : 0x14
    case CapabilityID.msix: nominal = 12
    case CapabilityID.advancedFeatures: nominal = 6
    case CapabilityID.messageSignaled: nominal = MSIState.Layout(config, offset: offset).size
    case 0x07, 0x0D, CapabilityID.serialATA: nominal = 8  // PCI-X, subsystem IDs of bridges
    case 0x04, 0x06, 0x0C: nominal = 4  // slot number, CompactPCI hot swap, hot plug
    // An unknown capability extends to the next capability, because all of it is hidden.
    default: nominal = end - offset
    }
    return min(nominal, end - offset)
  }
}
