// SPDX-License-Identifier: Apache-2.0

/// The effects of a guest's write beyond the emulated bits.
extension ConfigSpace {
  func addHeaderEffects(of write: ConfigWrite, to effects: inout Effects) {
    guard write.offset < ConfigOffset.headerEnd else { return }
    let old = Command(rawValue: UInt16(number(at: ConfigOffset.command, width: 2, before: write)))
    if old != command { effects.append(.command(from: old, to: command)) }
    for index in bars.indices {
      let at = bars[index].register
      let width = bars[index].kind == .memory64 ? 8 : 4
      if isChanged(at..<at + width, by: write) { effects.append(.base(bar: bars[index].index)) }
    }
  }

  mutating func addCapabilityEffects(of write: ConfigWrite, to effects: inout Effects) {
    if let layout = msiLayout, write.bytes.overlaps(layout.offset..<layout.offset + layout.size),
      let new = msi
    {
      let old = MSIState(layout) { number(at: $0, width: $1, before: write) }
      if old != new { effects.append(.msi(from: old, to: new)) }
    }
    for index in capabilities.shown.indices {
      let capability = capabilities.shown[index]
      let at = capability.offset
      guard write.bytes.overlaps(at..<at + capability.size) else { continue }
      switch UInt8(capability.id) {
      case CapabilityID.msix where isChanged(at + 3..<at + 4, by: write):
        effects.append(
          .msix(enabled: values[at + 3] & 0x80 != 0, functionMasked: values[at + 3] & 0x40 != 0))
      case CapabilityID.powerManagement where isChanged(at + 4..<at + 5, by: write):
        let before = write.old(at + 4) ?? values[at + 4]
        let old = PowerState(rawValue: before & 3) ?? .d0
        let new = PowerState(rawValue: values[at + 4] & 3) ?? .d0
        // A write of an unsupported state is ignored (PCI PM 1.2 §3.2.4).
        if (new == .d1 && values[at + 3] & 2 == 0) || (new == .d2 && values[at + 3] & 4 == 0) {
          values[at + 4] = before
        } else {
          effects.append(.power(from: old, to: new))
        }
      case CapabilityID.express:
        let canReset = values.number(at: at + 4, width: 4) & 1 << 28 != 0
        if canReset, let high = write.byte(at + 9), high & 0x80 != 0 { effects.append(.reset) }
      case CapabilityID.advancedFeatures where capability.size >= 6:
        if values[at + 3] & 2 != 0, let control = write.byte(at + 4), control & 1 != 0 {
          effects.append(.reset)
        }
      default: break
      }
    }
  }
}
