// SPDX-License-Identifier: Apache-2.0

/// Registers as typed values.
extension ConfigSpace {
  /// The command register as set by the guest.
  public var command: Command {
    Command(rawValue: UInt16(values.number(at: ConfigOffset.command, width: 2)))
  }

  /// Returns the address that the guest assigned to a BAR: a GPA or a port number.
  public func base(of bar: BAR) -> UInt64 {
    let at = bar.register
    let low = UInt64(values.number(at: at, width: 4))
    let high = bar.kind == .memory64 ? UInt64(values.number(at: at + 4, width: 4)) : 0
    return (high << 32 | low) & bar.addressMask
  }

  /// Sets the address of a BAR before the guest starts.
  public mutating func setBase(of bar: BAR, to address: UInt64) {
    let at = bar.register
    let value = address & bar.addressMask
    // The guest owns the ROM's enable bit, so it does not change.
    let enable = bar.kind == .rom ? values.number(at: at, width: 4) & 1 : 0
    values.set(UInt32(truncatingIfNeeded: value) | bar.flags | enable, at: at, width: 4)
    if bar.kind == .memory64 { values.set(UInt32(value >> 32), at: at + 4, width: 4) }
  }

  /// Records that the function is in D0 after a reset.
  public mutating func powerOn() {
    guard let capability = capabilities.first(CapabilityID.powerManagement) else { return }
    values[capability.offset + 4] &= ~3
  }

  /// True if the guest has enabled the decoding of the expansion ROM.
  public var isROMEnabled: Bool { values[ConfigOffset.rom] & 1 != 0 }

  /// True if the enable bits allow a BAR to answer.
  public func isEnabled(_ bar: BAR) -> Bool {
    switch bar.kind {
    case .io: command.contains(.ioSpace)
    case .memory32, .memory64: command.contains(.memorySpace)
    case .rom: command.contains(.memorySpace) && isROMEnabled
    }
  }

  /// The speed and width of the function's link, or the slowest link if it has no link registers (PCIe 6.0 §7.5.3.8).
  public var link: RootPort.Link {
    guard let capability = capabilities.first(CapabilityID.express), capability.size >= 0x14 else {
      return RootPort.Link(speed: 1, width: 1)
    }
    let status = values.number(at: capability.offset + 0x12, width: 2)
    return RootPort.Link(speed: UInt8(max(1, status & 0xF)), width: UInt8(max(1, status >> 4 & 0x3F)))
  }

  /// The interrupt pin, from 0 for INTA# to 3 for INTD#, or nil if the function has none.
  public var interruptPin: UInt8? {
    let pin = values[ConfigOffset.interruptPin]
    return (1...4).contains(pin) ? pin - 1 : nil
  }

  /// Sets the registers that describe the function's location: the multifunction bit, and the Interrupt Line
  /// register if the function has a pin.
  public mutating func setLocation(isMultifunction: Bool, interruptLine: UInt8) {
    values[ConfigOffset.headerType] = values[ConfigOffset.headerType] & 0x7F | (isMultifunction ? 0x80 : 0)
    if interruptPin != nil { values[ConfigOffset.interruptLine] = interruptLine }
  }

  /// The MSI registers, or nil if the function has none.
  public var msi: MSIState? { msiLayout.map { MSIState($0) { values.number(at: $0, width: $1) } } }

  /// True if a read covers MSI pending bits. These must be set before the read.
  public func readsPending(offset: Int, width: Int) -> Bool {
    guard let layout = msiLayout, layout.hasMask else { return false }
    return (offset..<offset + width).overlaps(layout.pending..<layout.pending + 4)
  }

  /// Sets the MSI pending bits to their present value.
  public mutating func setPending(_ bits: UInt32) {
    guard let layout = msiLayout, layout.hasMask else { return }
    values.set(bits & layout.vectors, at: layout.pending, width: 4)
  }

  /// True if the function keeps its state on the transition from D3hot to D0 (PMCSR No_Soft_Reset).
  public var keepsStateInD3: Bool {
    guard let capability = capabilities.first(CapabilityID.powerManagement) else { return true }
    return values[capability.offset + 4] & 8 != 0
  }
}
