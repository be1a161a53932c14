// SPDX-License-Identifier: Apache-2.0

/// A guest's write of at most four bytes to configuration space.
struct ConfigWrite {
  let offset: Int
  let width: Int
  /// The value that the guest writes.
  let value: UInt32
  /// The emulated value of these bytes before the write.
  let before: UInt32

  /// The offsets of the written bytes.
  var bytes: Range<Int> { offset..<offset + width }

  /// Returns the value that the guest writes to a byte, or nil if it does not write the byte.
  func byte(_ at: Int) -> UInt8? { part(of: value, at) }

  /// Returns the emulated value of a byte before the write, or nil if the guest does not write the byte.
  func old(_ at: Int) -> UInt8? { part(of: before, at) }

  private func part(of number: UInt32, _ at: Int) -> UInt8? {
    bytes.contains(at) ? UInt8(truncatingIfNeeded: number >> UInt32((at - offset) * 8)) : nil
  }
}

extension ConfigSpace {
  /// The effects of a write, in order. They are stored inline, so an exit does not allocate.
  public struct Effects: Sequence, IteratorProtocol, Sendable {
    /// Four bytes overlap at most two registers of the header and two capabilities. Each byte is forwarded at
    /// most once.
    private var list = InlineArray<8, Effect?>(repeating: nil)
    private var taken = 0
    private var count = 0

    init() {}

    mutating func append(_ effect: Effect) {
      list[count] = effect
      count += 1
    }

    /// Returns the next effect, or nil if none is left.
    public mutating func next() -> Effect? {
      guard taken < count else { return nil }
      taken += 1
      return list[taken - 1]
    }
  }

  /// Returns the emulated value of bytes before a write.
  func number(at offset: Int, width: Int, before write: ConfigWrite) -> UInt32 {
    (0..<width).reduce(0) { number, index in
      number | UInt32(write.old(offset + index) ?? values[offset + index]) << UInt32(index * 8)
    }
  }

  /// True if a write changed one of these bytes.
  func isChanged(_ bytes: Range<Int>, by write: ConfigWrite) -> Bool {
    bytes.clamped(to: write.bytes).contains { write.old($0) != values[$0] }
  }
}
