// SPDX-License-Identifier: Apache-2.0

/// Writes the fields of a record as a JSON object (RFC 8259).
struct FieldWriter {
  private var body = ""

  /// The JSON object with the fields written so far.
  var line: String { "{\(body)}" }

  private mutating func put(_ field: TraceEvent.Field, json value: String) {
    if !body.isEmpty { body += "," }
    body += "\"\(field.rawValue)\":"
    body += value
  }

  /// Adds a number.
  mutating func put(_ field: TraceEvent.Field, _ number: some FixedWidthInteger) {
    put(field, json: String(number))
  }

  /// Adds a number as a string of hexadecimal digits.
  mutating func put(_ field: TraceEvent.Field, hex number: some FixedWidthInteger & UnsignedInteger) {
    put(field, json: "\"0x\(String(number, radix: 16))\"")
  }

  /// Adds a string.
  mutating func put(_ field: TraceEvent.Field, _ text: String) { put(field, json: JSON.quote(text)) }

  /// Adds a word of an enumeration.
  mutating func put<Word: RawRepresentable<String>>(_ field: TraceEvent.Field, _ word: Word) {
    put(field, json: "\"\(word.rawValue)\"")
  }

  /// Adds a window's device and numbers.
  mutating func put(_ window: TraceEvent.Window) {
    put(.device, window.device)
    put(.bar, window.bar)
    put(.window, window.index)
  }
}

/// Reads the fields of a record.
struct FieldReader {
  /// A field that is absent, has another type or has an invalid value.
  struct Mismatch: Error {}

  private let object: FlatObject

  init(_ object: FlatObject) { self.object = object }

  /// True if the record has a field of text.
  func has(_ field: TraceEvent.Field) -> Bool { object.strings[field.rawValue] != nil }

  /// Reads a number.
  func number<Number: FixedWidthInteger>(_ field: TraceEvent.Field) throws(Mismatch) -> Number {
    guard let number = object.numbers[field.rawValue].flatMap({ Number($0) }) else { throw Mismatch() }
    return number
  }

  /// Reads a non-negative time or duration in microseconds.
  func microseconds(_ field: TraceEvent.Field = .microseconds) throws(Mismatch) -> Int64 {
    let number: Int64 = try number(field)
    guard number >= 0 else { throw Mismatch() }
    return number
  }

  /// Reads a number from a string of hexadecimal digits.
  func hex<Number: FixedWidthInteger & UnsignedInteger>(
    _ field: TraceEvent.Field
  ) throws(Mismatch) -> Number {
    let text = try text(field)
    guard text.hasPrefix("0x"), let number = Number(text.dropFirst(2), radix: 16) else { throw Mismatch() }
    return number
  }

  /// Reads a string.
  func text(_ field: TraceEvent.Field) throws(Mismatch) -> String {
    guard let text = object.strings[field.rawValue] else { throw Mismatch() }
    return text
  }

  /// Reads a word of an enumeration.
  func word<Word: RawRepresentable<String>>(_ field: TraceEvent.Field) throws(Mismatch) -> Word {
    guard let word = Word(rawValue: try text(field)) else { throw Mismatch() }
    return word
  }

  /// Reads a window.
  func window(address: TraceEvent.Field) throws(Mismatch) -> TraceEvent.Window {
    TraceEvent.Window(
      device: try text(.device), bar: try number(.bar), index: try number(.window),
      address: try hex(address), size: try number(.size))
  }
}
