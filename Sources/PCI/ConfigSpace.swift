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
  public let bars: [BAR]
  /// Shown and hidden capabilities.
  public let capabilities: CapabilityList
  /// Where the MSI registers are; nil where the function has none.
  public let msiLayout: MSIState.Layout?
  /// Bytes: 256 or 4096.
  public var size: Int { values.count }

  /// The bits kept here, which of all bits those are, which of them a guest may write, and the
  /// bits of the device that it may write.
  var values: [UInt8]
  var emulated: [UInt8]
  var writable: [UInt8]
  var passthrough: [UInt8]

  /// Makes the guest's view of a function.
  ///
  /// - Parameters:
  ///   - config: The configuration space as the host gives it, 256 or 4096 bytes.
  ///   - bars: Its BARs; their registers become the guest's own.
  ///   - optional: The bits of the command register that a function need not have, and this one has.
  public init(
    _ config: [UInt8], bars: [BAR], optional: Command = .optional
  ) {
    values = config
    self.bars = bars
    capabilities = CapabilityList(config)
    msiLayout = capabilities.first(CapabilityID.messageSignaled)
      .map { MSIState.Layout(config, offset: $0.offset) }
    emulated = [UInt8](repeating: 0, count: config.count)
    writable = emulated
    passthrough = [UInt8](repeating: 0xFF, count: config.count)
    describeHeader(optional)
    describeCapabilities()
    if config.count > ConfigOffset.extended { describeExtended(CapabilityList(extended: config)) }
  }

  /// Keeps `width` bytes here: a value, and the bits of it that a guest may write.
  mutating func emulate(
    _ offset: Int, _ width: Int, value: UInt32? = nil, writable bits: UInt32 = 0
  ) {
    if let value { values.set(value, at: offset, width: width) }
    emulated.set(UInt32.max, at: offset, width: width)
    passthrough.set(0, at: offset, width: width)
    writable.set(bits, at: offset, width: width)
  }

  /// True if a read of these bytes needs the device's bits. Bytes beyond the end of a 256-byte space are all-ones for
  /// every function.
  public func readsDevice(offset: Int, width: Int) -> Bool {
    emulated.number(at: offset, width: width) != UInt32.max >> UInt32(32 - width * 8)
  }

  /// What a guest reads, given what the device has there.
  public func read(offset: Int, width: Int, device: UInt32 = 0) -> UInt32 {
    guard offset + width <= values.count else { return UInt32.max >> UInt32(32 - width * 8) }
    let mask = emulated.number(at: offset, width: width)
    return values.number(at: offset, width: width) & mask | device & ~mask
  }

  /// Takes a guest's write: changes the bits kept here, and says what else has to happen, in
  /// the order of the registers.
  public mutating func write(offset: Int, width: Int, _ value: UInt32) -> Effects {
    var effects = Effects()
    guard offset >= 0, offset + width <= values.count else { return effects }
    let write = ConfigWrite(
      offset: offset, width: width, value: value, before: values.number(at: offset, width: width))
    for index in 0..<width {
      let byte = UInt8(truncatingIfNeeded: value >> UInt32(index * 8))
      let mask = writable[offset + index]
      values[offset + index] = values[offset + index] & ~mask | byte & mask
    }
    addHeaderEffects(of: write, to: &effects)
    addCapabilityEffects(of: write, to: &effects)
    addForwarding(of: write, to: &effects)
    return effects
  }

  /// The device's own bits of a write: as one write where every byte has some, else byte by byte.
  ///
  /// Bits beside them that a guest can write and that are kept here go along as they are kept: a
  /// PMCSR write for the sake of PME must not bring the function back into D0.
  private func addForwarding(of write: ConfigWrite, to effects: inout Effects) {
    let (offset, width) = (write.offset, write.width)
    let emulated = values.number(at: offset, width: width) & writable.number(at: offset, width: width)
    let own = passthrough.number(at: offset, width: width)
    let value = write.value & own | emulated & ~own
    let bytes = (0..<width).count { passthrough[offset + $0] != 0 }
    if bytes == width { return effects.append(.forward(offset: offset, width: width, value: value)) }
    for index in 0..<width where passthrough[offset + index] != 0 {
      effects.append(.forward(offset: offset + index, width: 1, value: value >> UInt32(index * 8) & 0xFF))
    }
  }
}
