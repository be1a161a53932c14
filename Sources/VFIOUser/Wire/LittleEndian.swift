// SPDX-License-Identifier: Apache-2.0

/// A reader of little-endian fields. Each read is within the bytes, or throws an error.
struct FieldReader {
  private var rest: ArraySlice<UInt8>
  private let subject: String
  private let size: Int

  /// Creates a reader of a message's part.
  ///
  /// - Parameters:
  ///   - bytes: The part.
  ///   - subject: The name of the part in errors.
  init(_ bytes: ArraySlice<UInt8>, _ subject: String) {
    rest = bytes
    self.subject = subject
    size = bytes.count
  }

  /// The bytes that were not read.
  var remainder: ArraySlice<UInt8> { rest }

  /// Reads a field.
  mutating func take<Field: FixedWidthInteger & UnsignedInteger>(
    _ type: Field.Type = Field.self
  ) throws(MessageError) -> Field {
    let width = Field.bitWidth / 8
    guard rest.count >= width else {
      throw MessageError(subject, .size(size, expected: size - rest.count + width...Int.max))
    }
    defer { rest = rest.dropFirst(width) }
    return rest.prefix(width).reversed().reduce(0) { $0 << 8 | Field($1) }
  }

  /// Skips bytes.
  mutating func skip(_ count: Int) throws(MessageError) {
    guard rest.count >= count else {
      throw MessageError(subject, .size(size, expected: size - rest.count + count...Int.max))
    }
    rest = rest.dropFirst(count)
  }
}

extension [UInt8] {
  /// Appends a field, little-endian.
  mutating func append<Field: FixedWidthInteger & UnsignedInteger>(field: Field) {
    for index in 0..<Field.bitWidth / 8 { append(UInt8(truncatingIfNeeded: field >> (8 * index))) }
  }
}

extension ArraySlice<UInt8> {
  /// Throws an error unless the part has exactly `count` bytes.
  func requireSize(_ count: Int, _ subject: String) throws(MessageError) {
    guard self.count == count else { throw MessageError(subject, .size(self.count, expected: count...count)) }
  }
}
