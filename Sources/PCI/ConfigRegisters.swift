// SPDX-License-Identifier: Apache-2.0

/// Registers as values, for those who act on them.
extension ConfigSpace {
  /// The command register as the guest has set it.
  public var command: Command {
    Command(rawValue: UInt16(values.number(at: ConfigOffset.command, width: 2)))
  }

  /// The address that the guest has given a BAR: GPA, or port number.
  public func base(of bar: BAR) -> UInt64 {
    let at = bar.register
    let low = UInt64(values.number(at: at, width: 4))
    let high = bar.kind == .memory64 ? UInt64(values.number(at: at + 4, width: 4)) : 0
    return (high << 32 | low) & bar.addressMask
  }

  /// Gives a BAR an address before the guest starts.
  public mutating func setBase(of bar: BAR, to address: UInt64) {
    let at = bar.register
    let value = address & bar.addressMask
    // The ROM's enable bit, which is the guest's, stays as it is.
    let enable = bar.kind == .rom ? values.number(at: at, width: 4) & 1 : 0
    values.set(UInt32(truncatingIfNeeded: value) | bar.flags | enable, at: at, width: 4)
    if bar.kind == .memory64 { values.set(UInt32(value >> 32), at: at + 4, width: 4) }
  }

  /// Notes that the function is in D0, where a reset has put it.
  public mutating func powerOn() {
    guard let capability = capabilities.first(CapabilityID.powerManagement) else { return }
    values[capability.offset + 4] &= ~3
  }

  /// Whether the guest has turned the expansion ROM's decoding on.
  public var isROMEnabled: Bool { values[ConfigOffset.rom] & 1 != 0 }

  /// Whether a BAR answers, as far as its enable bits say.
  public func isEnabled(_ bar: BAR) -> Bool {
    switch bar.kind {
    case .io: command.contains(.ioSpace)
    case .memory32, .memory64: command.contains(.memorySpace)
    case .rom: command.contains(.memorySpace) && isROMEnabled
    }
  }

  /// The interrupt pin: 0 for INTA# to 3 for INTD#; nil where the function has none.
  public var interruptPin: UInt8? {
    let pin = values[ConfigOffset.interruptPin]
    return (1...4).contains(pin) ? pin - 1 : nil
  }

  /// Tells the guest where the function is on its bus: whether other functions share the slot, and which
  /// line its pin is wired to.
  public mutating func setPlace(isMultifunction: Bool, interruptLine: UInt8) {
    values[ConfigOffset.headerType] = values[ConfigOffset.headerType] & 0x7F | (isMultifunction ? 0x80 : 0)
    if interruptPin != nil { values[ConfigOffset.interruptLine] = interruptLine }
  }

  /// The MSI registers; nil where the function has none.
  public var msi: MSIState? { msiLayout.map { MSIState($0) { values.number(at: $0, width: $1) } } }

  /// Whether a read takes in MSI pending bits, which are to be set before it.
  public func readsPending(offset: Int, width: Int) -> Bool {
    guard let layout = msiLayout, layout.hasMask else { return false }
    return (offset..<offset + width).overlaps(layout.pending..<layout.pending + 4)
  }

  /// Gives the MSI pending bits their present value.
  public mutating func setPending(_ bits: UInt32) {
    guard let layout = msiLayout, layout.hasMask else { return }
    values.set(bits & layout.vectors, at: layout.pending, width: 4)
  }

  /// Whether the function keeps its state on the way from D3hot to D0 (PMCSR No_Soft_Reset).
  public var keepsStateInD3: Bool {
    guard let capability = capabilities.first(CapabilityID.powerManagement) else { return true }
    return values[capability.offset + 4] & 8 != 0
  }
}
