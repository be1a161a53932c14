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
    /// The MSI registers changed.
    case msi(from: MSIState, to: MSIState)
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
  var values: [UInt8]
  var kept: [UInt8]
  var writable: [UInt8]
  var forwarded: [UInt8]

  /// Makes the guest's view of a function.
  ///
  /// - Parameters:
  ///   - config: The configuration space as the host gives it, 256 or 4096 bytes.
  ///   - bars: Its BARs; their registers become the guest's own.
  ///   - optional: The bits of the command register that a function need not have, and this one has.
  public init(
    _ config: [UInt8], bars: [BaseAddress], optional: Command = .optional
  ) {
    values = config
    self.bars = bars
    capabilities = CapabilityList(config)
    kept = [UInt8](repeating: 0, count: config.count)
    writable = kept
    forwarded = [UInt8](repeating: 0xFF, count: config.count)
    describeHeader(optional)
    describeCapabilities()
    if config.count > Register.extended { describeExtended(CapabilityList(extended: config)) }
  }

  /// Keeps `width` bytes here: a value, and the bits of it that a guest may write.
  mutating func keep(
    _ offset: Int, _ width: Int, value: UInt32? = nil, writable bits: UInt32 = 0
  ) {
    if let value { values.set(value, at: offset, width: width) }
    kept.set(UInt32.max, at: offset, width: width)
    forwarded.set(0, at: offset, width: width)
    writable.set(bits, at: offset, width: width)
  }

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
}
