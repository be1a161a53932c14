// SPDX-License-Identifier: Apache-2.0

/// Little-endian numbers in byte arrays. Every format in this module uses them.
extension [UInt8] {
  /// Appends a number, lowest byte first.
  mutating func append<Value: FixedWidthInteger>(little value: Value) {
    for shift in stride(from: 0, to: Value.bitWidth, by: 8) {
      append(UInt8(truncatingIfNeeded: value >> Value(shift)))
    }
  }

  /// Replaces the bytes at `offset`. They must exist.
  mutating func set<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
    for index in 0..<Value.bitWidth / 8 {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> Value(8 * index))
    }
  }

  /// Returns the number at `offset`, or nil if the array does not contain all of its bytes.
  func little<Value: FixedWidthInteger>(_ type: Value.Type = Value.self, at offset: Int) -> Value? {
    let width = Value.bitWidth / 8
    guard offset >= 0, offset <= count - width else { return nil }
    var value: Value = 0
    for index in 0..<width { value |= Value(truncatingIfNeeded: self[offset + index]) << Value(8 * index) }
    return value
  }

  /// Appends text, cut or padded with `fill` to `width` bytes.
  mutating func append(_ text: String, width: Int, fill: UInt8) {
    let bytes = text.utf8.prefix(width)
    append(contentsOf: bytes)
    append(contentsOf: repeatElement(fill, count: width - bytes.count))
  }
}
