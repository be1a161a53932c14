// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A line of output in one fixed buffer. The guests have no heap.
///
/// Only the first processor writes lines. It writes each line before it begins the next one.
struct Line: ExpressibleByStringInterpolation {
  struct StringInterpolation: StringInterpolationProtocol {
    init(literalCapacity: Int, interpolationCount: Int) { line_clear() }

    mutating func appendLiteral(_ literal: StaticString) { Line.append(literal) }
    mutating func appendInterpolation(_ text: StaticString) { Line.append(text) }

    /// Appends a decimal number.
    mutating func appendInterpolation<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) {
      Line.append(UInt64(value), radix: 10, digits: 1)
    }

    /// Appends a hexadecimal number with at least `digits` digits.
    mutating func appendInterpolation<Value: FixedWidthInteger & UnsignedInteger>(
      hex value: Value, digits: Int = 1
    ) {
      Line.append(UInt64(value), radix: 16, digits: digits)
    }
  }

  init(stringLiteral value: StaticString) {
    line_clear()
    Line.append(value)
  }

  init(stringInterpolation: StringInterpolation) {}

  /// Appends a value and the expected value.
  func append(value: UInt64, expected: UInt64) {
    Self.append(": 0x")
    Self.append(value, radix: 16, digits: 1)
    Self.append(", expected 0x")
    Self.append(expected, radix: 16, digits: 1)
  }

  @inline(never)
  private static func append(_ text: StaticString) {
    for index in 0..<text.byteCount { line_append(text.byte(index)) }
  }

  @inline(never)
  private static func append(_ value: UInt64, radix: UInt64, digits: Int) {
    var divisor: UInt64 = 1
    var count = 1
    while value / divisor >= radix || count < digits {
      divisor *= radix
      count += 1
    }
    while divisor > 0 {
      let digit = UInt8(truncatingIfNeeded: value / divisor % radix)
      line_append(digit < 10 ? 0x30 + digit : 0x57 + digit)
      divisor /= radix
    }
  }
}
