// SPDX-License-Identifier: Apache-2.0

/// The slot control register (PCIe 6.0 §7.5.3.10).
struct SlotControl: OptionSet {
  let rawValue: UInt16

  static let hotPlugInterrupt = SlotControl(rawValue: 1 << 5)
  /// Power Controller Control: the slot's power is off.
  static let powerOff = SlotControl(rawValue: 1 << 10)
  static let linkChangedEnable = SlotControl(rawValue: 1 << 12)

  /// The events of ``SlotStatus`` that raise an interrupt. Bits 0 to 4 have the positions of their events.
  var events: SlotStatus {
    SlotStatus(rawValue: rawValue & 0x1F).union(contains(.linkChangedEnable) ? .linkChanged : [])
  }
}

/// The slot status register (PCIe 6.0 §7.5.3.11).
struct SlotStatus: OptionSet {
  let rawValue: UInt16

  static let buttonPressed = SlotStatus(rawValue: 1 << 0)
  static let powerFault = SlotStatus(rawValue: 1 << 1)
  static let presenceChanged = SlotStatus(rawValue: 1 << 3)
  static let present = SlotStatus(rawValue: 1 << 6)
  static let linkChanged = SlotStatus(rawValue: 1 << 8)

  /// The bits that a guest clears by writing 1.
  static let changes: SlotStatus = [.buttonPressed, .powerFault, .presenceChanged, .linkChanged]
}

/// The root error status register (PCIe 6.0 §7.8.4.10).
struct RootErrorStatus: OptionSet {
  let rawValue: UInt32

  static let correctable = RootErrorStatus(rawValue: 1 << 0)
  static let multipleCorrectable = RootErrorStatus(rawValue: 1 << 1)
  static let uncorrectable = RootErrorStatus(rawValue: 1 << 2)
  static let multipleUncorrectable = RootErrorStatus(rawValue: 1 << 3)
  static let firstIsFatal = RootErrorStatus(rawValue: 1 << 4)
  static let nonFatal = RootErrorStatus(rawValue: 1 << 5)
  static let fatal = RootErrorStatus(rawValue: 1 << 6)

  /// Creates a value from the register's bits.
  init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Returns the messages that the root error command register enables (§7.8.4.9).
  init(enabledBy command: UInt32) {
    self = []
    if command & 1 << 0 != 0 { insert(.correctable) }
    if command & 1 << 1 != 0 { insert(.nonFatal) }
    if command & 1 << 2 != 0 { insert(.fatal) }
  }
}

/// The causes of a port's interrupt. All use the same vector and the same pin.
struct InterruptCauses: OptionSet {
  let rawValue: UInt8

  /// An enabled event of the slot (PCIe 6.0 §6.7.3.4).
  static let hotPlug = InterruptCauses(rawValue: 1 << 0)
  /// An enabled error message (PCIe 6.0 §6.2.4.1.2).
  static let errors = InterruptCauses(rawValue: 1 << 1)
}

/// Registers as typed values.
extension RootPort {
  var slotControl: SlotControl {
    get { SlotControl(rawValue: number(PortOffset.slotControl)) }
    set { values.set(UInt32(newValue.rawValue), at: PortOffset.slotControl, width: 2) }
  }

  var slotStatus: SlotStatus {
    get { SlotStatus(rawValue: number(PortOffset.slotStatus)) }
    set { values.set(UInt32(newValue.rawValue), at: PortOffset.slotStatus, width: 2) }
  }

  var rootErrorStatus: RootErrorStatus {
    get { RootErrorStatus(rawValue: values.number(at: PortOffset.rootErrorStatus, width: 4)) }
    set { values.set(newValue.rawValue, at: PortOffset.rootErrorStatus, width: 4) }
  }

  /// Sets or clears bits of a 16-bit register.
  mutating func set(_ bits: UInt16, at offset: Int, to isSet: Bool = true) {
    let value = isSet ? number(offset) | bits : number(offset) & ~bits
    values.set(UInt32(value), at: offset, width: 2)
  }

  /// The GPAs of the non-prefetchable window as set by the guest, or an empty range if it is closed (PCIe 6.0
  /// §7.5.1.3.8).
  public var memory32: Range<UInt64> {
    Self.window(base: UInt64(number(PortOffset.memoryBase)), limit: UInt64(number(PortOffset.memoryLimit)))
  }

  /// The GPAs of the prefetchable window as set by the guest, or an empty range if it is closed (PCIe 6.0
  /// §7.5.1.3.9).
  public var memory64: Range<UInt64> {
    let base = UInt64(values.number(at: PortOffset.prefetchableBaseHigh, width: 4))
    let limit = UInt64(values.number(at: PortOffset.prefetchableLimitHigh, width: 4))
    return Self.window(
      base: base << 16 | UInt64(number(PortOffset.prefetchableBase)),
      limit: limit << 16 | UInt64(number(PortOffset.prefetchableLimit)))
  }

  /// Returns the window of two registers, whose bits from 4 are the address bits from 20.
  private static func window(base: UInt64, limit: UInt64) -> Range<UInt64> {
    let (first, last) = ((base & ~0xF) << 16, limit << 16 | 0xF_FFFF)
    guard first <= last else { return 0..<0 }
    // The end of the address space does not fit in 64 bits.
    return first..<(last == .max ? last : last + 1)
  }
}
