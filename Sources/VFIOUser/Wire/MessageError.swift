// SPDX-License-Identifier: Apache-2.0

/// A message of vfio-user that breaks the protocol.
public struct MessageError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The message or its part: `header`, `REGION_READ`.
  public let subject: String
  /// The cause.
  public let cause: Cause

  /// The cause of an error.
  public enum Cause: Equatable, Sendable {
    /// The part has another size, in bytes.
    case size(Int, expected: ClosedRange<Int>)
    /// A field has a value that the protocol does not permit.
    case value(String, UInt64)
    /// A range of addresses or offsets ends beyond its limit, or has no bytes.
    case range(start: UInt64, size: UInt64)
    /// The text of VERSION is not a JSON object with a NUL at its end.
    case text
    /// The number of descriptors differs from the protocol's.
    case descriptors(Int, expected: Int)
  }

  /// Creates an error.
  public init(_ subject: String, _ cause: Cause) {
    self.subject = subject
    self.cause = cause
  }

  /// The subject and the cause.
  public var description: String {
    switch cause {
    case .size(let size, let expected) where expected.lowerBound == expected.upperBound:
      "\(subject): \(size) bytes instead of \(expected.lowerBound)"
    case .size(let size, let expected):
      "\(subject): \(size) bytes, permitted are \(expected.lowerBound) to \(expected.upperBound)"
    case .value(let field, let value): "\(subject): invalid \(field) 0x\(String(value, radix: 16))"
    case .range(let start, let size):
      "\(subject): invalid range of 0x\(String(size, radix: 16)) bytes at 0x\(String(start, radix: 16))"
    case .text: "\(subject): the text is not a JSON object with a NUL at its end"
    case .descriptors(let count, let expected): "\(subject): \(count) descriptors instead of \(expected)"
    }
  }
}
