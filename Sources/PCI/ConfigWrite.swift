// SPDX-License-Identifier: Apache-2.0

/// A guest's write to configuration space, of four bytes at most.
struct ConfigWrite {
  let offset: Int
  let width: Int
  /// What the guest writes.
  let value: UInt32
  /// What was kept in those bytes.
  let before: UInt32

  /// The bytes that are written.
  var bytes: Range<Int> { offset..<offset + width }

  /// What the guest writes to a byte; nil where it does not write that one.
  func byte(_ at: Int) -> UInt8? { part(of: value, at) }

  /// What was kept in a byte; nil where the guest does not write that one.
  func old(_ at: Int) -> UInt8? { part(of: before, at) }

  private func part(of number: UInt32, _ at: Int) -> UInt8? {
    bytes.contains(at) ? UInt8(truncatingIfNeeded: number >> UInt32((at - offset) * 8)) : nil
  }
}

extension ConfigSpace {
  /// What a write has to bring about, in order. Kept in place, so that an exit does not allocate.
  public struct Effects: Sequence, IteratorProtocol, Sendable {
    /// Four bytes meet no more than two registers of the header and two capabilities, and forward each byte
    /// at most.
    private var list = InlineArray<8, Effect?>(repeating: nil)
    private var taken = 0
    private var count = 0

    init() {}

    mutating func append(_ effect: Effect) {
      list[count] = effect
      count += 1
    }

    /// Takes the next one.
    public mutating func next() -> Effect? {
      guard taken < count else { return nil }
      taken += 1
      return list[taken - 1]
    }
  }

  /// The bytes kept here as they were before a write.
  func number(at offset: Int, width: Int, before write: ConfigWrite) -> UInt32 {
    (0..<width).reduce(0) { number, index in
      number | UInt32(write.old(offset + index) ?? values[offset + index]) << UInt32(index * 8)
    }
  }

  /// Whether a write has changed one of these bytes.
  func isChanged(_ bytes: Range<Int>, by write: ConfigWrite) -> Bool {
    bytes.clamped(to: write.bytes).contains { write.old($0) != values[$0] }
  }
}
