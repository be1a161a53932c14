// SPDX-License-Identifier: Apache-2.0

/// What a guest's write means, besides the bits that it changes.
extension ConfigSpace {
  func headerEffects(_ before: [UInt8], _ written: Range<Int>) -> [Effect] {
    var effects: [Effect] = []
    let old = Command(rawValue: UInt16(before.number(at: Register.command, width: 2)))
    if old != command { effects.append(.command(from: old, to: command)) }
    for bar in bars {
      let at = bar.register
      let width = bar.kind == .memory64 ? 8 : 4
      if written.overlaps(at..<at + width), before[at..<at + width] != values[at..<at + width] {
        effects.append(.base(bar: bar.index))
      }
    }
    return effects
  }

  mutating func capabilityEffects(
    _ before: [UInt8], _ written: Range<Int>, _ value: UInt32
  ) -> [Effect] {
    var effects: [Effect] = []
    func byte(_ at: Int) -> UInt8? {
      written.contains(at)
        ? UInt8(truncatingIfNeeded: value >> UInt32((at - written.lowerBound) * 8)) : nil
    }
    let old = msi(before)
    if let old, let new = msi, old != new { effects.append(.msi(from: old, to: new)) }
    for capability in capabilities.shown {
      let at = capability.offset
      switch UInt8(capability.id) {
      case CapabilityID.msix where before[at + 3] != values[at + 3]:
        effects.append(
          .msix(enabled: values[at + 3] & 0x80 != 0, functionMasked: values[at + 3] & 0x40 != 0))
      case CapabilityID.powerManagement where before[at + 4] != values[at + 4]:
        let old = PowerState(rawValue: before[at + 4] & 3) ?? .d0
        let new = PowerState(rawValue: values[at + 4] & 3) ?? .d0
        // A write of a state that the function does not have is ignored (PCI PM 1.2 §3.2.4).
        if (new == .d1 && before[at + 3] & 2 == 0) || (new == .d2 && before[at + 3] & 4 == 0) {
          values[at + 4] = before[at + 4]
        } else {
          effects.append(.power(from: old, to: new))
        }
      case CapabilityID.express:
        let canReset = before.number(at: at + 4, width: 4) & 1 << 28 != 0
        if canReset, let high = byte(at + 9), high & 0x80 != 0 { effects.append(.reset) }
      case CapabilityID.advancedFeatures where capability.size >= 6:
        if before[at + 3] & 2 != 0, let control = byte(at + 4), control & 1 != 0 {
          effects.append(.reset)
        }
      default: break
      }
    }
    return effects
  }
}
