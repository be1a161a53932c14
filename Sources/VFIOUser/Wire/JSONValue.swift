// SPDX-License-Identifier: Apache-2.0

internal import Trace

/// A value of JSON (RFC 8259). Foundation's decoder would take up a third of the program.
indirect enum JSONValue: Equatable {
  /// An object. A name that is there twice has its last value.
  case object([String: JSONValue])
  /// true or false.
  case bool(Bool)
  /// A whole number that is not negative and has no exponent.
  case number(UInt64)
  /// A string, an array, null or another number. No key of VERSION needs it.
  case other

  /// The maximum depth of objects and arrays.
  static let mostDepth = 16

  /// Parses a whole text. Returns nil if it is not JSON, or is nested too deeply.
  init?(_ text: String) {
    var reader = JSONReader(text[...])
    guard let value = Self.read(&reader, depth: 0), reader.isAtEnd else { return nil }
    self = value
  }

  private static func read(_ reader: inout JSONReader, depth: Int) -> JSONValue? {
    guard depth < mostDepth else { return nil }
    if reader.take("{") { return object(&reader, depth: depth) }
    if reader.take("[") { return array(&reader, depth: depth) }
    if reader.string() != nil { return .other }
    switch reader.word() {
    case "true": return .bool(true)
    case "false": return .bool(false)
    case "null": return .other
    case let word: return number(word)
    }
  }

  private static func object(_ reader: inout JSONReader, depth: Int) -> JSONValue? {
    var members: [String: JSONValue] = [:]
    if reader.take("}") { return .object(members) }
    repeat {
      guard let name = reader.string(), reader.take(":"), let value = read(&reader, depth: depth + 1) else {
        return nil
      }
      members[name] = value
    } while reader.take(",")
    return reader.take("}") ? .object(members) : nil
  }

  private static func array(_ reader: inout JSONReader, depth: Int) -> JSONValue? {
    if reader.take("]") { return .other }
    repeat {
      guard read(&reader, depth: depth + 1) != nil else { return nil }
    } while reader.take(",")
    return reader.take("]") ? .other : nil
  }

  /// Parses a number (RFC 8259 §6).
  private static func number(_ word: String) -> JSONValue? {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    if word.utf8.allSatisfy({ digits.contains($0) }), let number = UInt64(word) { return .number(number) }
    // Double accepts more than JSON does: hexadecimal digits, infinities and a leading plus.
    guard let first = word.utf8.first, first == UInt8(ascii: "-") || digits.contains(first),
      word.utf8.allSatisfy({ $0 < 0x3A || $0 | 0x20 == UInt8(ascii: "e") }), Double(word) != nil
    else { return nil }
    return .other
  }
}
