// SPDX-License-Identifier: Apache-2.0

/// What has become of a vector by a guest's write.
public enum VectorTransition: Equatable, Sendable {
  /// It may send now.
  case unmasked(Int)
  /// It may not send any more.
  case masked(Int)
  /// It may send, and its message is another one.
  case message(Int)

  /// Compares a vector before and after a write; nil if nothing has changed for it.
  ///
  /// - Parameters:
  ///   - before: The message that the vector could send, or nil.
  ///   - after: The message that it can send, or nil.
  init?(_ vector: Int, before: MSIMessage?, after: MSIMessage?) {
    switch (before, after) {
    case (nil, .some): self = .unmasked(vector)
    case (.some, nil): self = .masked(vector)
    case (let before?, let after?) where before != after: self = .message(vector)
    default: return nil
    }
  }
}

/// What a message-signalled interrupt writes where (PCI 3.0 §6.8).
public struct MSIMessage: Equatable, Sendable {
  /// The address.
  public var address: UInt64
  /// The data.
  public var data: UInt32
}

/// The registers of an MSI capability as the guest has set them (PCI 3.0 §6.8.1).
public struct MSIState: Equatable, Sendable {
  /// Where its registers are.
  public struct Layout: Equatable, Sendable {
    /// Where the capability is.
    public let offset: Int
    /// How many vectors the function can send: 1, 2, 4, … 32.
    public let count: Int
    /// Whether it takes 64-bit addresses.
    public let is64Bit: Bool
    /// Whether each vector can be masked, and has a pending bit.
    public let hasMask: Bool

    /// Reads it out of the capability at an offset.
    init(_ config: [UInt8], offset: Int) {
      self.offset = offset
      let control = config.number(at: offset + 2, width: 2)
      // 6 and 7 are reserved.
      count = 1 << min(5, Int(control >> 1 & 7))
      is64Bit = control & 1 << 7 != 0
      hasMask = control & 1 << 8 != 0
    }

    /// Where the data register is.
    var data: Int { offset + (is64Bit ? 12 : 8) }
    /// Where the mask bits are, where there are any.
    var mask: Int { data + 4 }
    /// Where the pending bits are, where there are any.
    public var pending: Int { data + 8 }
    /// Bytes of the capability.
    var size: Int { data - offset + (hasMask ? 12 : 2) }
    /// The mask bits that there are.
    var vectors: UInt32 { UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(count)) - 1) }
  }

  /// The MSI Enable bit.
  public var isEnabled = false
  /// How many vectors the guest has given the function.
  public var count = 1
  /// The message of vector 0.
  public var message = MSIMessage(address: 0, data: 0)
  /// The mask bits.
  public var mask: UInt32 = 0

  /// As a function has it that has just been reset.
  public init() {}

  /// Reads the registers.
  ///
  /// - Parameter number: The number of so many bytes at an offset.
  init(_ layout: Layout, number: (_ offset: Int, _ width: Int) -> UInt32) {
    let control = number(layout.offset + 2, 2)
    isEnabled = control & 1 != 0
    count = min(layout.count, 1 << Int(control >> 4 & 7))
    let low = UInt64(number(layout.offset + 4, 4))
    let high = layout.is64Bit ? UInt64(number(layout.offset + 8, 4)) : 0
    message = MSIMessage(address: high << 32 | low, data: number(layout.data, 2))
    if layout.hasMask { mask = number(layout.mask, 4) }
  }

  /// Whether a vector may send.
  public func isActive(_ vector: Int) -> Bool {
    isEnabled && vector < count && mask & 1 << UInt32(vector) == 0
  }

  /// The message of a vector: its number stands in the low bits of the data.
  public func message(_ vector: Int) -> MSIMessage {
    MSIMessage(
      address: message.address, data: message.data & ~UInt32(count - 1) | UInt32(vector))
  }

  /// What has become of a vector since an earlier state; nil for nothing.
  public func change(of vector: Int, from old: MSIState) -> VectorTransition? {
    VectorTransition(vector, before: old.sent(by: vector), after: sent(by: vector))
  }

  private func sent(by vector: Int) -> MSIMessage? { isActive(vector) ? message(vector) : nil }
}
