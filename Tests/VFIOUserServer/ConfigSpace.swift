// SPDX-License-Identifier: Apache-2.0

import VFIOUser

/// The configuration space of a served function (PCIe 6.0 §7.5, §7.7).
package struct ConfigSpace {
  /// Bytes.
  package static let size = 4096
  private static let command = 0x04
  private static let status = 0x06
  private static let powerManagement = 0x40
  private static let msi = 0x50
  private static let express = 0x70
  private static let msix = 0xB0
  private static let deviceControl = express + 8

  private var bytes = [UInt8](repeating: 0, count: size)
  /// The bits that a write changes.
  private var masks = [UInt8](repeating: 0, count: size)

  /// Creates the space after a reset.
  init(_ identity: FunctionIdentity, _ bars: [BARLayout], romSize: Int) {
    set(0x00, identity.vendor)
    set(0x02, identity.device)
    set(Self.command, UInt16(0), mask: 0x0546)
    set(Self.status, UInt16(0x10))  // a capability list
    set(0x08, identity.classCode << 8)
    set(0x0C, UInt8(0), mask: .max)
    set(0x2C, identity.vendor)
    set(0x2E, identity.device)
    set(0x34, UInt8(Self.powerManagement))
    set(0x3C, UInt8(0), mask: .max)
    set(0x3D, UInt8(1))
    for bar in bars {
      let flags: UInt32 = (bar.is64Bit ? 4 : 0) | (bar.isPrefetchable ? 8 : 0)
      let at = 0x10 + 4 * bar.index
      set(at, flags, mask: ~UInt32(truncatingIfNeeded: bar.size - 1))
      if bar.is64Bit { set(at + 4, UInt32(0), mask: UInt32(truncatingIfNeeded: ~(bar.size - 1) >> 32)) }
    }
    if romSize > 0 { set(0x30, UInt32(0), mask: ~UInt32(romSize - 1) | 1) }
    addCapabilities(identity)
  }

  private mutating func addCapabilities(_ identity: FunctionIdentity) {
    // Power management: version 3, no soft reset on the transition from D3hot to D0.
    let afterPower = identity.msiVectors > 0 ? Self.msi : Self.express
    set(Self.powerManagement, UInt32(0x0003_0001) | UInt32(afterPower) << 8)
    set(Self.powerManagement + 4, UInt16(8), mask: 3)
    if identity.msiVectors > 0 {
      set(Self.msi, UInt16(5) | UInt16(Self.express) << 8)
      let vectors = UInt16(identity.msiVectors.trailingZeroBitCount) << 1
      set(Self.msi + 2, vectors | 0x80, mask: 0x71)  // 64-bit address
      set(Self.msi + 4, UInt32(0), mask: ~3)
      set(Self.msi + 8, UInt32(0), mask: .max)
      set(Self.msi + 12, UInt16(0), mask: .max)
    }
    // PCI Express: version 2, an endpoint with function-level reset, a link of 2.5 GT/s and one lane.
    set(Self.express, UInt16(0x10) | UInt16(identity.msix == nil ? 0 : Self.msix) << 8)
    set(Self.express + 2, UInt16(2))
    set(Self.express + 4, UInt32(1) << 28)
    set(Self.deviceControl, UInt16(0), mask: 0x7FFF)
    set(Self.express + 12, UInt32(0x11))
    set(Self.express + 16, UInt16(0), mask: 0x01FB)
    set(Self.express + 18, UInt16(0x11))
    if let msix = identity.msix {
      set(Self.msix, UInt16(0x11))
      set(Self.msix + 2, UInt16(msix.vectors - 1), mask: 0xC000)
      set(Self.msix + 4, UInt32(msix.offset | msix.bar))
      set(Self.msix + 8, UInt32(msix.pendingOffset | msix.bar))
    }
  }

  private mutating func set<Field: FixedWidthInteger & UnsignedInteger>(
    _ offset: Int, _ value: Field, mask: Field = 0
  ) {
    for index in 0..<Field.bitWidth / 8 {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
      masks[offset + index] = UInt8(truncatingIfNeeded: mask >> (8 * index))
    }
  }

  /// Reads bytes. The range is within the space.
  func read(_ offset: Int, _ count: Int) -> [UInt8] { Array(bytes[offset..<offset + count]) }

  /// Writes bytes. The range is within the space. Returns true if the write initiates a function-level reset.
  mutating func write(_ offset: Int, _ values: [UInt8]) -> Bool {
    var isReset = false
    for (index, value) in values.enumerated() {
      let at = offset + index
      bytes[at] = bytes[at] & ~masks[at] | value & masks[at]
      if at == Self.deviceControl + 1, value & 0x80 != 0 { isReset = true }
    }
    return isReset
  }

  /// True if libvfio-user's server refuses a write of COMMAND or STATUS: a part of the register, or Parity Error Response.
  static func isRefused(_ access: RegionAccess) -> Bool {
    let start = Int(access.offset)
    guard start < status + 2, start + access.data.count > command else { return false }
    guard start == command || start == status, access.data.count == 2 else { return true }
    return start == command && access.data[0] & 0x40 != 0
  }

  /// Bus Master Enable of COMMAND.
  var isBusMaster: Bool { bytes[Self.command] & 4 != 0 }

  /// Interrupt Disable of COMMAND.
  var isInterruptDisabled: Bool { bytes[Self.command + 1] & 4 != 0 }

  /// Interrupt Status of STATUS.
  var hasInterruptStatus: Bool {
    get { bytes[Self.status] & 8 != 0 }
    set { bytes[Self.status] = bytes[Self.status] & ~8 | (newValue ? 8 : 0) }
  }
}
