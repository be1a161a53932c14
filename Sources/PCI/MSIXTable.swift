// SPDX-License-Identifier: Apache-2.0

/// The MSI-X structures that a guest sees: table, pending bits, and the capability's control
/// bits (PCIe 6.0 §7.7.2). They are Sluice's own and do not depend on the device's memory.
public struct MSIXTable: Sendable {
  /// Where the structures are, as the capability says.
  public struct Layout: Equatable, Sendable {
    /// How many vectors, 1 to 2048.
    public let count: Int
    /// The BAR of the table.
    public let tableBar: Int
    /// Offset of the table in that BAR, in bytes.
    public let tableOffset: UInt64
    /// The BAR of the pending bits.
    public let pendingBar: Int
    /// Offset of the pending bits in that BAR, in bytes.
    public let pendingOffset: UInt64

    /// Reads the layout out of a capability.
    public init(_ config: [UInt8], capability: Capability) {
      count = Int(config.number(at: capability.offset + 2, width: 2) & 0x7FF) + 1
      let table = config.number(at: capability.offset + 4, width: 4)
      let pending = config.number(at: capability.offset + 8, width: 4)
      tableBar = Int(table & 7)
      tableOffset = UInt64(table & ~7)
      pendingBar = Int(pending & 7)
      pendingOffset = UInt64(pending & ~7)
    }

    /// The bytes of a BAR that the table takes.
    public func table(in bar: Int) -> Range<UInt64>? {
      bar == tableBar ? tableOffset..<tableOffset + UInt64(count) * 16 : nil
    }

    /// The bytes of a BAR that the pending bits take.
    public func pending(in bar: Int) -> Range<UInt64>? {
      bar == pendingBar ? pendingOffset..<pendingOffset + UInt64((count + 63) / 64) * 8 : nil
    }
  }

  /// What a vector sends, and whether it may.
  public struct Entry: Equatable, Sendable {
    /// Message address.
    public var address: UInt64 = 0
    /// Message data.
    public var data: UInt32 = 0
    /// Vector control; bit 0 masks. Vectors are masked after a reset.
    public var control: UInt32 = 1
  }

  /// Where the structures are.
  public let layout: Layout
  /// The entries, by vector.
  public private(set) var entries: [Entry]
  /// How many vectors there are.
  public var count: Int { entries.count }
  /// The MSI-X Enable bit.
  public private(set) var isEnabled = false
  /// The Function Mask bit.
  public private(set) var isFunctionMasked = false

  /// Makes a table as it is after a reset.
  public init(_ layout: Layout) {
    self.layout = layout
    entries = [Entry](repeating: Entry(), count: layout.count)
  }

  /// What a vector sends.
  public func message(_ vector: Int) -> MSIMessage {
    MSIMessage(address: entries[vector].address, data: entries[vector].data)
  }

  /// Whether a vector may send.
  public func isActive(_ vector: Int) -> Bool {
    isEnabled && !isFunctionMasked && !isMasked(vector)
  }

  /// Sets the capability's control bits.
  ///
  /// - Returns: What that means for every vector that is not masked by itself: whether it may send now; nil
  ///   where nothing has changed for it.
  public mutating func setControl(enabled: Bool, functionMasked: Bool) -> Bool? {
    let before = isEnabled && !isFunctionMasked
    isEnabled = enabled
    isFunctionMasked = functionMasked
    let now = enabled && !functionMasked
    return now == before ? nil : now
  }

  /// Whether a vector is masked by itself.
  public func isMasked(_ vector: Int) -> Bool { entries[vector].control & 1 != 0 }

  /// Reads the table; `offset` counts from its start. Accesses that are not of 4 or 8 aligned
  /// bytes have no defined result and give all-ones.
  public func read(offset: UInt64, width: Int) -> UInt64 {
    guard width >= 4, offset % UInt64(width) == 0 else { return UInt64.max }
    let low = UInt64(word(offset))
    return width == 8 ? low | UInt64(word(offset + 4)) << 32 : low
  }

  /// Writes the table, and says what that changes. Accesses that are not of 4 or 8 aligned bytes
  /// have no defined result and are dropped.
  public mutating func write(offset: UInt64, width: Int, _ value: UInt64) -> VectorTransition? {
    guard width >= 4, offset % UInt64(width) == 0 else { return nil }
    let vector = Int(offset / 16)
    guard vector < entries.count else { return nil }
    let before = isActive(vector) ? message(vector) : nil
    setWord(offset, UInt32(truncatingIfNeeded: value))
    if width == 8 { setWord(offset + 4, UInt32(truncatingIfNeeded: value >> 32)) }
    return VectorTransition(vector, before: before, after: isActive(vector) ? message(vector) : nil)
  }

  private func word(_ offset: UInt64) -> UInt32 {
    let vector = Int(offset / 16)
    guard vector < entries.count else { return UInt32.max }
    let entry = entries[vector]
    switch offset % 16 {
    case 0: return UInt32(truncatingIfNeeded: entry.address)
    case 4: return UInt32(truncatingIfNeeded: entry.address >> 32)
    case 8: return entry.data
    default: return entry.control
    }
  }

  private mutating func setWord(_ offset: UInt64, _ value: UInt32) {
    let vector = Int(offset / 16)
    switch offset % 16 {
    case 0:  // The lowest two bits are reserved (§7.7.2.5).
      entries[vector].address = entries[vector].address & ~0xFFFF_FFFF | UInt64(value & ~3)
    case 4: entries[vector].address = entries[vector].address & 0xFFFF_FFFF | UInt64(value) << 32
    case 8: entries[vector].data = value
    default: entries[vector].control = value & 1
    }
  }
}
