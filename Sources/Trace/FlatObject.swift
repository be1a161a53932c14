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
    var reader = JSONReader(text)
    guard reader.take("{") else { return nil }
    if !reader.take("}") {
      repeat {
        guard let name = reader.string(), reader.take(":"), read(name, &reader) else { return nil }
      } while reader.take(",")
      guard reader.take("}") else { return nil }
    }
    guard reader.isAtEnd else { return nil }
  }

  private mutating func read(_ name: String, _ reader: inout JSONReader) -> Bool {
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
