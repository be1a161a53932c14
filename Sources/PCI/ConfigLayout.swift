// SPDX-License-Identifier: Apache-2.0

/// The guest's view of each register of a function.
extension ConfigSpace {
  mutating func emulateHeader(_ optional: Command) {
    for offset in stride(from: 0, to: ConfigOffset.headerEnd, by: 4) { emulate(offset, 4) }
    var command: Command = [.busMaster, .interruptDisable]
    command.formUnion(optional.intersection(.optional))
    if bars.contains(where: { $0.kind == .io }) { command.insert(.ioSpace) }
    if bars.contains(where: { $0.kind != .io }) { command.insert(.memorySpace) }
    emulate(ConfigOffset.command, 2, value: 0, writable: UInt32(command.rawValue))
    // Status: bit 4 indicates a capability list. The error bits belong to the device and are written 1 to
    // clear.
    emulated.set(0xFFFF & ~0xF908, at: ConfigOffset.status, width: 2)
    passthrough.set(0xF900, at: ConfigOffset.status, width: 2)
    let status = values.number(at: ConfigOffset.status, width: 2)
    values.set(status & ~0x10 | (capabilities.shown.isEmpty ? 0 : 0x10), at: ConfigOffset.status, width: 2)
    emulate(ConfigOffset.cacheLineSize, 1, writable: 0xFF)
    // The guest's PCI slots can hold other functions than the host's, so bit 7 (multifunction) is cleared
    // here.
    emulate(ConfigOffset.headerType, 1, value: values.number(at: ConfigOffset.headerType, width: 1) & 0x7F)
    for register in 0..<6 { emulate(ConfigOffset.bar0 + register * 4, 4, value: 0) }
    emulate(ConfigOffset.cardBus, 4, value: 0)
    emulate(ConfigOffset.rom, 4, value: 0)
    for bar in bars {
      let mask = bar.addressMask
      let enable: UInt32 = bar.kind == .rom ? 1 : 0
      emulate(bar.register, 4, value: bar.flags, writable: UInt32(truncatingIfNeeded: mask) | enable)
      if bar.kind == .memory64 { emulate(bar.register + 4, 4, value: 0, writable: UInt32(mask >> 32)) }
    }
    emulate(ConfigOffset.interruptLine, 1, value: 0xFF, writable: 0xFF)
  }

  mutating func emulateCapabilities(isBehindPort: Bool) {
    // Link the shown capabilities and zero the hidden ones.
    var link = ConfigOffset.capabilities
    for capability in capabilities.shown {
      emulate(link, 1, value: UInt32(capability.offset))
      emulate(capability.offset, 2)
      link = capability.offset + 1
    }
    emulate(link, 1, value: 0)
    for capability in capabilities.hidden {
      for offset in capability.offset..<capability.offset + capability.size { emulate(offset, 1, value: 0) }
    }
    for capability in capabilities.shown {
      let at = capability.offset
      switch UInt8(capability.id) {
      case CapabilityID.msix:
        // Enable and Function Mask are writable. The table size and the table and PBA offsets are read-only.
        emulate(at + 2, 2, writable: 0xC000)
        values.set(values.number(at: at + 2, width: 2) & 0x3FFF, at: at + 2, width: 2)
        emulate(at + 4, 4)
        emulate(at + 8, 4)
      case CapabilityID.powerManagement:
        emulate(at + 2, 2)
        emulated[at + 4] |= 3
        writable[at + 4] |= 3
        passthrough[at + 4] &= ~3
        values[at + 4] &= ~3
      case CapabilityID.messageSignaled: emulateMSI(MSIState.Layout(values, offset: capability.offset))
      case CapabilityID.express: emulateExpress(capability, isBehindPort: isBehindPort)
      case CapabilityID.advancedFeatures:
        for offset in at + 2..<at + capability.size { emulate(offset, 1) }
      default: break
      }
    }
  }

  /// Emulates the MSI capability. The guest writes Enable, Multiple Message Enable, address, data and masks.
  /// ``setPending(_:)`` supplies the pending bits.
  private mutating func emulateMSI(_ layout: MSIState.Layout) {
    let control = values.number(at: layout.offset + 2, width: 2)
    emulate(layout.offset + 2, 2, value: control & 0x018E, writable: 0x0071)
    emulate(layout.offset + 4, 4, value: 0, writable: ~3)
    if layout.is64Bit { emulate(layout.offset + 8, 4, value: 0, writable: UInt32.max) }
    emulate(layout.data, 2, value: 0, writable: 0xFFFF)
    if layout.hasMask {
      emulate(layout.mask, 4, value: 0, writable: layout.vectors)
      emulate(layout.pending, 4, value: 0)
    }
  }

  /// Emulates a part of the PCIe capability. On the root bus, an endpoint becomes a root-complex integrated endpoint,
  /// which has no link (PCIe 6.0 §7.5.3.2).
  private mutating func emulateExpress(_ capability: Capability, isBehindPort: Bool) {
    let at = capability.offset
    let flags = values.number(at: at + 2, width: 2)
    let type = flags >> 4 & 0xF
    if isBehindPort {
      emulate(at + 2, 2)
      emulateLink(capability)
    } else if type == 0 || type == 1 {
      emulate(at + 2, 2, value: flags & ~0xF0 | 9 << 4)
      for offset in stride(from: at + 0xC, to: min(at + 0x14, at + capability.size), by: 4) {
        emulate(offset, 4, value: 0)
      }
      if capability.size >= 0x34 {
        for offset in stride(from: at + 0x2C, to: at + 0x34, by: 4) { emulate(offset, 4, value: 0) }
      }
    } else {
      emulate(at + 2, 2)
    }
    emulate(at + 4, 4)
    if capability.size >= 0x2C {
      // AtomicOps need support from every component on the path to the root complex. The guest sees none of
      // these components. The bits are 9:6 of Device Capabilities 2, and Requester Enable and Egress Blocking
      // of Device Control 2 (PCIe 6.0 §7.5.3.15).
      let device = values.number(at: at + 0x24, width: 4)
      emulate(at + 0x24, 4, value: device & ~0x3C0)
      emulated[at + 0x28] |= 0xC0
      passthrough[at + 0x28] &= 0x3F
      values[at + 0x28] &= 0x3F
    }
    // Initiate Function Level Reset is emulated and always reads 0.
    emulated[at + 9] |= 0x80
    passthrough[at + 9] &= 0x7F
    values[at + 9] &= 0x7F
  }

  /// Emulates the link registers. The link has its state at the start, because the host's link is not the guest's. The
  /// guest may write ASPM, Read Completion Boundary, Common Clock, Extended Synch and Clock Power Management, without
  /// an effect (PCIe 6.0 §7.5.3.7).
  private mutating func emulateLink(_ capability: Capability) {
    let at = capability.offset
    if capability.size >= 0x14 {
      emulate(at + 0xC, 4)
      emulate(at + 0x10, 2, writable: 0x01CB)
      emulate(at + 0x12, 2)
    }
    if capability.size >= 0x34 {
      emulate(at + 0x2C, 4)
      emulate(at + 0x30, 2, writable: 0x000F)
      emulate(at + 0x32, 2)
    }
  }

  mutating func emulateExtended(_ list: CapabilityList) {
    let config = values
    for offset in stride(from: ConfigOffset.extended, to: values.count, by: 4) {
      emulate(offset, 4, value: 0)
    }
    // The first header stays at 0x100. It has the null ID if that capability is hidden.
    var link = ConfigOffset.extended
    for (index, capability) in list.shown.enumerated() {
      // The ID and version, without a next pointer.
      let own = config.number(at: capability.offset, width: 4) & 0xF_FFFF
      for offset in capability.offset..<capability.offset + capability.size {
        emulated[offset] = 0
        passthrough[offset] = 0xFF
      }
      if index > 0 || capability.offset != ConfigOffset.extended {
        let header = values.number(at: link, width: 4)
        emulate(link, 4, value: header & 0xF_FFFF | UInt32(capability.offset) << 20)
      }
      emulate(capability.offset, 4, value: own)
      if capability.id == ExtendedCapabilityID.resizableBAR { fixSizes(capability, config) }
      link = capability.offset
    }
  }

  /// Fixes resizable BARs at their present sizes. The guest is offered no other size (PCIe 6.0 §7.8.6).
  private mutating func fixSizes(_ capability: Capability, _ config: [UInt8]) {
    let count = Int(config.number(at: capability.offset + 8, width: 4) >> 5 & 7)
    for entry in 0..<count {
      let at = capability.offset + 4 + entry * 8
      guard at + 8 <= capability.offset + capability.size else { return }
      let control = config.number(at: at + 4, width: 4) & 0x3FE7
      // Bit 4 of the capability register is 1 MiB. The bits for 256 TiB and more are in the control register.
      let size = control >> 8 & 0x3F
      emulate(at, 4, value: size < 28 ? 1 << (size + 4) : 0)
      emulate(at + 4, 4, value: size < 28 ? control : control | 1 << (size - 12))
    }
  }
}
