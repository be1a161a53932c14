// SPDX-License-Identifier: Apache-2.0

/// A change of a vector by a guest's write.
public enum VectorTransition: Equatable, Sendable {
  /// The vector may send and could not before.
  case unmasked(Int)
  /// The vector may no longer send.
  case masked(Int)
  /// The vector may send as before, but its message changed.
  case message(Int)

  /// Compares a vector before and after a write. Returns nil if nothing changed for the vector.
  ///
  /// - Parameters:
  ///   - vector: The number of the vector.
  ///   - before: The message that the vector could send before, or nil if it could not send.
  ///   - after: The message that the vector can send after, or nil if it cannot send.
  init?(_ vector: Int, before: MSIMessage?, after: MSIMessage?) {
    switch (before, after) {
    case (nil, .some): self = .unmasked(vector)
    case (.some, nil): self = .masked(vector)
    case (let before?, let after?) where before != after: self = .message(vector)
    default: return nil
    }
  }
}

/// The memory write of a message-signalled interrupt (PCI 3.0 §6.8).
public struct MSIMessage: Equatable, Sendable {
  /// The address.
  public var address: UInt64
  /// The data.
  public var data: UInt32
}

/// The registers of an MSI capability as set by the guest (PCI 3.0 §6.8.1).
public struct MSIState: Equatable, Sendable {
  /// The layout of the registers.
  public struct Layout: Equatable, Sendable {
    /// The offset of the capability in configuration space.
    public let offset: Int
    /// The number of vectors that the function can send: 1, 2, 4, … 32.
    public let count: Int
    /// True if the function supports 64-bit addresses.
    public let is64Bit: Bool
    /// True if each vector has a mask bit and a pending bit.
    public let hasMask: Bool

    /// Decodes the layout of the capability at an offset.
    init(_ config: [UInt8], offset: Int) {
      self.offset = offset
      let control = config.number(at: offset + 2, width: 2)
      // The encodings 6 and 7 are reserved.
      count = 1 << min(5, Int(control >> 1 & 7))
      is64Bit = control & 1 << 7 != 0
      hasMask = control & 1 << 8 != 0
    }

    /// The offset of the data register.
    var data: Int { offset + (is64Bit ? 12 : 8) }
    /// The offset of the mask bits, if the function has any.
    var mask: Int { data + 4 }
    /// The offset of the pending bits, if the function has any.
    public var pending: Int { data + 8 }
    /// The size of the capability in bytes.
    var size: Int { data - offset + (hasMask ? 12 : 2) }
    /// The mask bits that exist, one for each vector.
    var vectors: UInt32 { UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(count)) - 1) }
  }

  /// The MSI Enable bit.
  public var isEnabled = false
  /// The number of vectors that the guest allocated to the function.
  public var count = 1
  /// The message of vector 0.
  public var message = MSIMessage(address: 0, data: 0)
  /// The mask bits.
  public var mask: UInt32 = 0

  /// Creates the state after a reset.
  public init() {}

  /// Decodes the registers.
  ///
  /// - Parameters:
  ///   - layout: The layout of the registers.
  ///   - number: Returns the value of `width` bytes at an offset.
  init(_ layout: Layout, number: (_ offset: Int, _ width: Int) -> UInt32) {
    let control = number(layout.offset + 2, 2)
    isEnabled = control & 1 != 0
    count = min(layout.count, 1 << Int(control >> 4 & 7))
    let low = UInt64(number(layout.offset + 4, 4))
    let high = layout.is64Bit ? UInt64(number(layout.offset + 8, 4)) : 0
    message = MSIMessage(address: high << 32 | low, data: number(layout.data, 2))
    if layout.hasMask { mask = number(layout.mask, 4) }
  }

  /// True if a vector may send.
  public func isActive(_ vector: Int) -> Bool {
    isEnabled && vector < count && mask & 1 << UInt32(vector) == 0
  }

  /// Returns the message of a vector. Its number is in the low bits of the data.
  public func message(_ vector: Int) -> MSIMessage {
    MSIMessage(
      address: message.address, data: message.data & ~UInt32(count - 1) | UInt32(vector))
  }

  /// Returns the change of a vector since an earlier state, or nil if nothing changed.
  public func change(of vector: Int, from old: MSIState) -> VectorTransition? {
    VectorTransition(vector, before: old.sent(by: vector), after: sent(by: vector))
  }

  private func sent(by vector: Int) -> MSIMessage? { isActive(vector) ? message(vector) : nil }
}
