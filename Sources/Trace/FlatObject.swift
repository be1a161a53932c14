// SPDX-License-Identifier: Apache-2.0

/// A JSON object whose values are strings, numbers, true, false and null (RFC 8259). Each line of a trace is
/// one.
///
/// Foundation's decoder would take up a third of the program.
public struct FlatObject {
  /// The names of all fields, in the order of the text. A name that is there twice has its last value.
  public private(set) var names: [String] = []
  /// The values that are strings.
  public private(set) var strings: [String: String] = [:]
  /// The numbers as text, because a double cannot hold every 64-bit integer.
  public private(set) var numbers: [String: String] = [:]

  /// Parses a whole text. Returns nil if it is not such an object.
  public init?(_ text: Substring) {
    var reader = Reader(text)
    guard reader.take("{") else { return nil }
    if !reader.take("}") {
      repeat {
        guard let name = reader.string(), reader.take(":"), read(name, &reader) else { return nil }
      } while reader.take(",")
      guard reader.take("}") else { return nil }
    }
    guard reader.isAtEnd else { return nil }
  }

  private mutating func read(_ name: String, _ reader: inout Reader) -> Bool {
    names.append(name)
    if let text = reader.string() {
      strings[name] = text
      return true
    }
    switch reader.word() {
    case "true", "false", "null": return true
    case let word:
      // Double accepts more than JSON does: hexadecimal digits, infinities and a leading plus.
      guard word.utf8.allSatisfy({ $0 < 0x3A || $0 | 0x20 == UInt8(ascii: "e") }),
        word.utf8.first != UInt8(ascii: "+"),
        Double(word) != nil
      else { return false }
      numbers[name] = word
      return true
    }
  }
}

/// A reader of the bytes of JSON.
private struct Reader {
  private var rest: Substring.UTF8View

  init(_ text: Substring) { rest = text.utf8 }

  private mutating func skipSpace() {
    rest = rest.drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
  }

  var isAtEnd: Bool { rest.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) } }

  /// Consumes the next character if it is this one. Returns true if so.
  mutating func take(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard let first = rest.first, UInt32(first) == character.value else { return false }
    rest = rest.dropFirst()
    return true
  }

  /// Reads a number or a literal up to the next separator.
  mutating func word() -> String {
    skipSpace()
    let word = rest.prefix { ![0x2C, 0x7D, 0x20, 0x09, 0x0A, 0x0D].contains($0) }
    rest = rest[word.endIndex...]
    return String(decoding: word, as: UTF8.self)
  }

  /// Reads a string and removes its quotes and escapes. Returns nil if the next token is not a valid string.
  mutating func string() -> String? {
    guard take("\"") else { return nil }
    var bytes: [UInt8] = []
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let scalar = escape() else { return nil }
        bytes += Array(String(Character(scalar)).utf8)
      case 0..<0x20: return nil
      default: bytes.append(byte)
      }
    }
    return nil
  }

  private mutating func escape() -> Unicode.Scalar? {
    guard let byte = rest.popFirst() else { return nil }
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      guard let high = unit() else { return nil }
      guard 0xD800..<0xDC00 ~= high else { return Unicode.Scalar(high) }
      guard rest.popFirst() == UInt8(ascii: "\\"), rest.popFirst() == UInt8(ascii: "u"), let low = unit(),
        0xDC00..<0xE000 ~= low
      else { return nil }
      return Unicode.Scalar(0x10000 + (high & 0x3FF) << 10 + low & 0x3FF)
    default: return nil
    }
  }

  /// Reads four hexadecimal digits, or returns nil.
  private mutating func unit() -> UInt32? {
    let digits = rest.prefix(4)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else {
      return nil
    }
    rest = rest.dropFirst(4)
    return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
