// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A line of output, put together in one fixed buffer: the guests have no heap.
///
/// A line is written out before the next one is begun, and by the first processor alone.
struct Line: ExpressibleByStringInterpolation {
  struct StringInterpolation: StringInterpolationProtocol {
    init(literalCapacity: Int, interpolationCount: Int) { line_clear() }

    mutating func appendLiteral(_ literal: StaticString) { Line.append(literal) }
    mutating func appendInterpolation(_ text: StaticString) { Line.append(text) }

    /// A number in decimal.
    mutating func appendInterpolation<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) {
      Line.append(UInt64(value), radix: 10, digits: 1)
    }

    /// A number in hexadecimal with at least so many digits.
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

  /// Adds a value and the expected one.
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
