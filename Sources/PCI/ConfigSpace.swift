// SPDX-License-Identifier: Apache-2.0

/// The configuration space that a guest sees. Each bit is either emulated or passed through to the device. A
/// write returns its effects. This type never accesses a device.
public struct ConfigSpace: Sendable {
  /// An effect of a write beyond the emulated bits.
  public enum Effect: Equatable, Sendable {
    /// The command register changed.
    case command(from: Command, to: Command)
    /// A BAR's address may have changed.
    case base(bar: Int)
    /// The MSI registers changed.
    case msi(from: MSIState, to: MSIState)
    /// The MSI-X control bits changed.
    case msix(enabled: Bool, functionMasked: Bool)
    /// The function must enter another power state.
    case power(from: PowerState, to: PowerState)
    /// The function must be reset (FLR).
    case reset
    /// The device owns bits of this register. Write the value to the device unchanged.
    case forward(offset: Int, width: Int, value: UInt32)
  }

  /// The function's BARs.
  public let bars: [BAR]
  /// The shown and hidden capabilities.
  public let capabilities: CapabilityList
  /// The layout of the MSI registers, or nil if the function has none.
  public let msiLayout: MSIState.Layout?
  /// The size in bytes: 256 or 4096.
  public var size: Int { values.count }

  /// The values of the emulated bits.
  var values: [UInt8]
  /// The mask of the emulated bits.
  var emulated: [UInt8]
  /// The mask of the emulated bits that a guest may write.
  var writable: [UInt8]
  /// The mask of the device's bits that a guest may write.
  var passthrough: [UInt8]

  /// Creates the guest's view of a function.
  ///
  /// - Parameters:
  ///   - config: The configuration space as read from the host, 256 or 4096 bytes.
  ///   - bars: The BARs of the function. Their registers are emulated.
  ///   - optional: The optional bits of the command register that this function implements.
  ///   - isBehindPort: True if the function is behind a port, and not on the root bus.
  public init(
    _ config: [UInt8], bars: [BAR], optional: Command = .optional, isBehindPort: Bool = false
  ) {
    values = config
    self.bars = bars
    capabilities = CapabilityList(config)
    msiLayout = capabilities.first(CapabilityID.messageSignaled)
      .map { MSIState.Layout(config, offset: $0.offset) }
    emulated = [UInt8](repeating: 0, count: config.count)
    writable = emulated
    passthrough = [UInt8](repeating: 0xFF, count: config.count)
    emulateHeader(optional)
    emulateCapabilities(isBehindPort: isBehindPort)
    if config.count > ConfigOffset.extended { emulateExtended(CapabilityList(extended: config)) }
  }

  /// Emulates `width` bytes.
  ///
  /// - Parameters:
  ///   - offset: The offset of the first byte in configuration space.
  ///   - width: The number of bytes: 1, 2 or 4.
  ///   - value: The initial value, or nil to keep the present value.
  ///   - bits: The mask of the bits that a guest may write.
  mutating func emulate(
    _ offset: Int, _ width: Int, value: UInt32? = nil, writable bits: UInt32 = 0
  ) {
    if let value { values.set(value, at: offset, width: width) }
    emulated.set(UInt32.max, at: offset, width: width)
    passthrough.set(0, at: offset, width: width)
    writable.set(bits, at: offset, width: width)
  }

  /// True if a read of these bytes needs the device's bits. Bytes beyond the end of a 256-byte space
  /// read as all-ones for every function.
  public func readsDevice(offset: Int, width: Int) -> Bool {
    emulated.number(at: offset, width: width) != UInt32.max >> UInt32(32 - width * 8)
  }

  /// Returns the value that a guest reads.
  ///
  /// - Parameters:
  ///   - offset: The offset of the first byte in configuration space.
  ///   - width: The number of bytes: 1, 2 or 4.
  ///   - device: The device's value of the same bytes.
  public func read(offset: Int, width: Int, device: UInt32 = 0) -> UInt32 {
    guard offset + width <= values.count else { return UInt32.max >> UInt32(32 - width * 8) }
    let mask = emulated.number(at: offset, width: width)
    return values.number(at: offset, width: width) & mask | device & ~mask
  }

  /// Handles a guest's write. It changes the emulated bits and returns the effects in the order of the
  /// registers.
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

  /// Forwards the device's bits of a write: in one write if every byte has some, else byte by byte.
  ///
  /// The forwarded value has the stored values of the writable emulated bits. For example, a PMCSR write for
  /// PME must not return the function to D0.
  private func addForwarding(of write: ConfigWrite, to effects: inout Effects) {
    let (offset, width) = (write.offset, write.width)
    let stored = values.number(at: offset, width: width) & writable.number(at: offset, width: width)
    let deviceBits = passthrough.number(at: offset, width: width)
    let value = write.value & deviceBits | stored & ~deviceBits
    let bytes = (0..<width).count { passthrough[offset + $0] != 0 }
    if bytes == width { return effects.append(.forward(offset: offset, width: width, value: value)) }
    for index in 0..<width where passthrough[offset + index] != 0 {
      effects.append(.forward(offset: offset + index, width: 1, value: value >> UInt32(index * 8) & 0xFF))
    }
  }
}
