// SPDX-License-Identifier: Apache-2.0

/// The MSI-X structures that a guest sees: the table, the pending bit array (PBA) and the capability's control
/// bits (PCIe 6.0 §7.7.2). Sluice emulates them. They do not depend on the device's memory.
public struct MSIXTable: Sendable {
  /// The layout of the structures, as described by the capability.
  public struct Layout: Equatable, Sendable {
    /// The number of vectors, 1 to 2048.
    public let count: Int
    /// The BAR that holds the table.
    public let tableBAR: Int
    /// The offset of the table in that BAR, in bytes.
    public let tableOffset: UInt64
    /// The BAR that holds the PBA.
    public let pendingBAR: Int
    /// The offset of the PBA in that BAR, in bytes.
    public let pendingOffset: UInt64

    /// Decodes the layout from a capability.
    public init(_ config: [UInt8], capability: Capability) {
      count = Int(config.number(at: capability.offset + 2, width: 2) & 0x7FF) + 1
      let table = config.number(at: capability.offset + 4, width: 4)
      let pending = config.number(at: capability.offset + 8, width: 4)
      tableBAR = Int(table & 7)
      tableOffset = UInt64(table & ~7)
      pendingBAR = Int(pending & 7)
      pendingOffset = UInt64(pending & ~7)
    }

    /// Returns the bytes of a BAR that the table occupies, or nil if it is in another BAR.
    public func table(in bar: Int) -> Range<UInt64>? {
      bar == tableBAR ? tableOffset..<tableOffset + UInt64(count) * 16 : nil
    }

    /// Returns the bytes of a BAR that the PBA occupies, or nil if it is in another BAR.
    public func pending(in bar: Int) -> Range<UInt64>? {
      bar == pendingBAR ? pendingOffset..<pendingOffset + UInt64((count + 63) / 64) * 8 : nil
    }
  }

  /// The table entry of a vector: its message and vector control.
  public struct Entry: Equatable, Sendable {
    /// The message address.
    public var address: UInt64 = 0
    /// The message data.
    public var data: UInt32 = 0
    /// Vector control. Bit 0 masks the vector. Vectors are masked after a reset.
    public var control: UInt32 = 1
  }

  /// The layout of the structures.
  public let layout: Layout
  /// The table entries, indexed by vector.
  public private(set) var entries: [Entry]
  /// The number of vectors.
  public var count: Int { entries.count }
  /// The MSI-X Enable bit.
  public private(set) var isEnabled = false
  /// The Function Mask bit.
  public private(set) var isFunctionMasked = false

  /// Creates a table in its state after a reset.
  public init(_ layout: Layout) {
    self.layout = layout
    entries = [Entry](repeating: Entry(), count: layout.count)
  }

  /// Returns the message of a vector.
  public func message(_ vector: Int) -> MSIMessage {
    MSIMessage(address: entries[vector].address, data: entries[vector].data)
  }

  /// True if a vector may send.
  public func isActive(_ vector: Int) -> Bool {
    isEnabled && !isFunctionMasked && !isMasked(vector)
  }

  /// Sets the capability's control bits.
  ///
  /// - Returns: True if the vectors whose mask bits are clear may send from now on, false if they may no longer
  ///   send, or nil if nothing changed.
  public mutating func setControl(enabled: Bool, functionMasked: Bool) -> Bool? {
    let before = isEnabled && !isFunctionMasked
    isEnabled = enabled
    isFunctionMasked = functionMasked
    let now = enabled && !functionMasked
    return now == before ? nil : now
  }

  /// True if a vector's mask bit is set.
  public func isMasked(_ vector: Int) -> Bool { entries[vector].control & 1 != 0 }

  /// Reads the table. `offset` is relative to the start of the table. Only an aligned access of 4 or 8 bytes
  /// has a defined result. Any other access returns all-ones.
  public func read(offset: UInt64, width: Int) -> UInt64 {
    guard width >= 4, offset % UInt64(width) == 0 else { return UInt64.max }
    let low = UInt64(word(offset))
    return width == 8 ? low | UInt64(word(offset + 4)) << 32 : low
  }

  /// Writes the table and returns the change, or nil if nothing changed. Only an aligned access of 4 or 8
  /// bytes has a defined result. Any other access is dropped.
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
