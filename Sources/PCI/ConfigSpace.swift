// SPDX-License-Identifier: Apache-2.0

/// The configuration space that a guest sees: for every bit, whether it is kept here or in the
/// device, and what a write to it means. Nothing here touches a device.
public struct ConfigSpace: Sendable {
  /// What a write has to bring about, besides the bits that are kept here.
  public enum Effect: Equatable, Sendable {
    /// The command register changed.
    case command(from: Command, to: Command)
    /// A BAR's address may have changed.
    case base(bar: Int)
    /// The MSI-X control bits changed.
    case msix(enabled: Bool, functionMasked: Bool)
    /// The function shall go to another power state.
    case power(from: PowerState, to: PowerState)
    /// The function shall be reset (FLR).
    case reset
    /// The device has bits here of its own: write them as they stand.
    case forward(offset: Int, width: Int, value: UInt32)
  }

  /// The function's BARs.
  public let bars: [BaseAddress]
  /// Shown and hidden capabilities.
  public let capabilities: CapabilityList
  /// Bytes: 256 or 4096.
  public var size: Int { values.count }

  /// The bits kept here, which of all bits those are, which of them a guest may write, and the
  /// bits of the device that it may write.
  private var values: [UInt8]
  private var kept: [UInt8]
  private var writable: [UInt8]
  private var forwarded: [UInt8]

  /// Makes the guest's view of a function.
  ///
  /// - Parameters:
  ///   - config: The configuration space as the host gives it, 256 or 4096 bytes.
  ///   - bars: Its BARs; their registers become the guest's own.
  public init(_ config: [UInt8], bars: [BaseAddress]) {
    values = config
    self.bars = bars
    capabilities = CapabilityList(config)
    kept = [UInt8](repeating: 0, count: config.count)
    writable = kept
    forwarded = [UInt8](repeating: 0xFF, count: config.count)
    describeHeader()
    describeCapabilities()
    if config.count > Register.extended { describeExtended(CapabilityList(extended: config)) }
  }

  /// Keeps `width` bytes here: a value, and the bits of it that a guest may write.
  private mutating func keep(
    _ offset: Int, _ width: Int, value: UInt32? = nil, writable bits: UInt32 = 0
  ) {
    if let value { values.set(value, at: offset, width: width) }
    kept.set(UInt32.max, at: offset, width: width)
    forwarded.set(0, at: offset, width: width)
    writable.set(bits, at: offset, width: width)
  }

  private mutating func describeHeader() {
    for offset in stride(from: 0, to: Register.headerEnd, by: 4) { keep(offset, 4) }
    var command: Command = [.busMaster, .parityErrorResponse, .systemErrorEnable, .interruptDisable]
    if bars.contains(where: { $0.kind == .io }) { command.insert(.ioSpace) }
    if bars.contains(where: { $0.kind != .io }) { command.insert(.memorySpace) }
    keep(Register.command, 2, value: 0, writable: UInt32(command.rawValue))
    // Status: bit 4 says that there is a list. The error bits are the device's, written 1 to clear.
    kept.set(0xFFFF & ~0xF908, at: Register.status, width: 2)
    forwarded.set(0xF900, at: Register.status, width: 2)
    let status = values.number(at: Register.status, width: 2)
    values.set(status & ~0x10 | (capabilities.shown.isEmpty ? 0 : 0x10), at: Register.status, width: 2)
    keep(Register.cacheLineSize, 1, writable: 0xFF)
    // One function in each slot, whatever the device is on the host.
    keep(Register.headerType, 1, value: values.number(at: Register.headerType, width: 1) & 0x7F)
    for register in 0..<6 { keep(Register.bar0 + register * 4, 4, value: 0) }
    for bar in bars {
      let mask = bar.addressMask
      let at = Register.bar0 + bar.index * 4
      keep(at, 4, value: bar.flags, writable: UInt32(truncatingIfNeeded: mask))
      if bar.kind == .memory64 { keep(at + 4, 4, value: 0, writable: UInt32(mask >> 32)) }
    }
    keep(Register.cardBus, 4, value: 0)
    keep(Register.rom, 4, value: 0)
    keep(Register.interruptLine, 1, value: 0xFF, writable: 0xFF)
    keep(Register.interruptPin, 1, value: 0)
  }

  private mutating func describeCapabilities() {
    // The chain, without the hidden ones.
    var link = Register.capabilities
    for capability in capabilities.shown {
      keep(link, 1, value: UInt32(capability.offset))
      keep(capability.offset, 2)
      link = capability.offset + 1
    }
    keep(link, 1, value: 0)
    for capability in capabilities.hidden {
      for offset in capability.offset..<capability.offset + capability.size { keep(offset, 1, value: 0) }
    }
    for capability in capabilities.shown {
      let at = capability.offset
      switch UInt8(capability.id) {
      case CapabilityID.msix:
        // Enable and Function Mask; table size, places of table and pending bits.
        keep(at + 2, 2, writable: 0xC000)
        values.set(values.number(at: at + 2, width: 2) & 0x3FFF, at: at + 2, width: 2)
        keep(at + 4, 4)
        keep(at + 8, 4)
      case CapabilityID.powerManagement:
        keep(at + 2, 2)
        kept[at + 4] |= 3
        writable[at + 4] |= 3
        forwarded[at + 4] &= ~3
        values[at + 4] &= ~3
      case CapabilityID.express: describeExpress(capability)
      case CapabilityID.advancedFeatures:
        for offset in at + 2..<at + capability.size { keep(offset, 1) }
      default: break
      }
    }
  }

  /// The function sits on the root bus, so an endpoint becomes a root-complex integrated one,
  /// which has no link (PCIe 6.0 §7.5.3.2).
  private mutating func describeExpress(_ capability: Capability) {
    let at = capability.offset
    let flags = values.number(at: at + 2, width: 2)
    let type = flags >> 4 & 0xF
    if type == 0 || type == 1 {
      keep(at + 2, 2, value: flags & ~0xF0 | 9 << 4)
      for offset in stride(from: at + 0xC, to: min(at + 0x14, at + capability.size), by: 4) {
        keep(offset, 4, value: 0)
      }
      if capability.size >= 0x34 {
        for offset in stride(from: at + 0x2C, to: at + 0x34, by: 4) { keep(offset, 4, value: 0) }
      }
    } else {
      keep(at + 2, 2)
    }
    keep(at + 4, 4)
    // Initiate Function Level Reset is ours, and always reads 0.
    kept[at + 9] |= 0x80
    forwarded[at + 9] &= 0x7F
    values[at + 9] &= 0x7F
  }

  private mutating func describeExtended(_ list: CapabilityList) {
    for offset in stride(from: Register.extended, to: values.count, by: 4) { keep(offset, 4, value: 0) }
    // The first header stays at 0x100, with the null ID where that capability is hidden.
    var link = Register.extended
    for (index, capability) in list.shown.enumerated() {
      let original = original(capability)
      for offset in capability.offset..<capability.offset + capability.size {
        kept[offset] = 0
        forwarded[offset] = 0xFF
      }
      if index > 0 || capability.offset != Register.extended {
        let header = values.number(at: link, width: 4)
        keep(link, 4, value: header & 0xF_FFFF | UInt32(capability.offset) << 20)
      }
      keep(capability.offset, 4, value: original)
      link = capability.offset
    }
  }

  /// A capability's own header with no successor; version 1 and up are alike for our purpose.
  private func original(_ capability: Capability) -> UInt32 { UInt32(capability.id) | 1 << 16 }

  /// Whether a read of these bytes needs the device's bits.
  public func needsDevice(offset: Int, width: Int) -> Bool {
    kept.number(at: offset, width: width) != UInt32.max >> UInt32(32 - width * 8)
  }

  /// What a guest reads, given what the device has there.
  public func read(offset: Int, width: Int, device: UInt32 = 0) -> UInt32 {
    guard offset + width <= values.count else { return UInt32.max >> UInt32(32 - width * 8) }
    let mask = kept.number(at: offset, width: width)
    return values.number(at: offset, width: width) & mask | device & ~mask
  }

  /// Takes a guest's write: changes the bits kept here, and says what else has to happen, in
  /// the order of the registers.
  public mutating func write(offset: Int, width: Int, _ value: UInt32) -> [Effect] {
    guard offset >= 0, offset + width <= values.count else { return [] }
    let before = values
    for index in 0..<width {
      let byte = UInt8(truncatingIfNeeded: value >> UInt32(index * 8))
      let mask = writable[offset + index]
      values[offset + index] = values[offset + index] & ~mask | byte & mask
    }
    let written = offset..<offset + width
    var effects = headerEffects(before, written)
    effects += capabilityEffects(before, written, value)
    effects += forwarding(offset: offset, width: width, value)
    return effects
  }

  private func headerEffects(_ before: [UInt8], _ written: Range<Int>) -> [Effect] {
    var effects: [Effect] = []
    let old = Command(rawValue: UInt16(before.number(at: Register.command, width: 2)))
    if old != command { effects.append(.command(from: old, to: command)) }
    for bar in bars {
      let at = Register.bar0 + bar.index * 4
      let width = bar.kind == .memory64 ? 8 : 4
      if written.overlaps(at..<at + width), before[at..<at + width] != values[at..<at + width] {
        effects.append(.base(bar: bar.index))
      }
    }
    return effects
  }

  private mutating func capabilityEffects(
    _ before: [UInt8], _ written: Range<Int>, _ value: UInt32
  ) -> [Effect] {
    var effects: [Effect] = []
    func byte(_ at: Int) -> UInt8? {
      written.contains(at)
        ? UInt8(truncatingIfNeeded: value >> UInt32((at - written.lowerBound) * 8)) : nil
    }
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

  /// The device's own bits of a write: as one write where every byte has some, else byte by byte.
  ///
  /// Bits beside them that a guest can write and that are kept here go along as they are kept: a
  /// PMCSR write for the sake of PME must not bring the function back into D0.
  private func forwarding(offset: Int, width: Int, _ value: UInt32) -> [Effect] {
    let masks = (offset..<offset + width).map { forwarded[$0] }
    let kept = values.number(at: offset, width: width) & writable.number(at: offset, width: width)
    let own = forwarded.number(at: offset, width: width)
    let value = value & own | kept & ~own
    if masks.allSatisfy({ $0 == 0 }) { return [] }
    if masks.allSatisfy({ $0 != 0 }) {
      return [.forward(offset: offset, width: width, value: value)]
    }
    return masks.indices.filter { masks[$0] != 0 }.map { index in
      .forward(offset: offset + index, width: 1, value: value >> UInt32(index * 8) & 0xFF)
    }
  }

  /// The command register as the guest has set it.
  public var command: Command {
    Command(rawValue: UInt16(values.number(at: Register.command, width: 2)))
  }

  /// The address that the guest has given a BAR: GPA, or port number.
  public func base(of bar: BaseAddress) -> UInt64 {
    let at = Register.bar0 + bar.index * 4
    let low = UInt64(values.number(at: at, width: 4))
    let high = bar.kind == .memory64 ? UInt64(values.number(at: at + 4, width: 4)) : 0
    return (high << 32 | low) & bar.addressMask
  }

  /// Gives a BAR an address before the guest starts.
  public mutating func setBase(of bar: BaseAddress, to address: UInt64) {
    let at = Register.bar0 + bar.index * 4
    let value = address & bar.addressMask
    values.set(UInt32(truncatingIfNeeded: value) | bar.flags, at: at, width: 4)
    if bar.kind == .memory64 { values.set(UInt32(value >> 32), at: at + 4, width: 4) }
  }

  /// Notes that the function is in D0, where a reset has put it.
  public mutating func powerOn() {
    guard let capability = capabilities.first(CapabilityID.powerManagement) else { return }
    values[capability.offset + 4] &= ~3
  }
}
