// SPDX-License-Identifier: Apache-2.0

/// An encoder for ACPI machine language. Each function returns the bytes of one term (ACPI 6.5 §20.2).
enum AML {
  typealias Term = [UInt8]

  private enum Opcode {
    static let zero: UInt8 = 0x00
    static let one: UInt8 = 0x01
    static let name: UInt8 = 0x08
    static let byte: UInt8 = 0x0A
    static let word: UInt8 = 0x0B
    static let doubleWord: UInt8 = 0x0C
    static let string: UInt8 = 0x0D
    static let quadWord: UInt8 = 0x0E
    static let scope: UInt8 = 0x10
    static let buffer: UInt8 = 0x11
    static let package: UInt8 = 0x12
    static let method: UInt8 = 0x14
    static let dualName: UInt8 = 0x2E
    static let multiName: UInt8 = 0x2F
    static let extended: UInt8 = 0x5B
    static let notify: UInt8 = 0x86
    static let extendedDevice: UInt8 = 0x82
  }

  // MARK: Named objects

  /// `Name (path, value)`.
  static func name(_ path: String, _ value: Term) -> Term { [Opcode.name] + nameString(path) + value }

  /// `Scope (path) { … }`.
  static func scope(_ path: String, _ terms: [Term]) -> Term {
    [Opcode.scope] + sized(nameString(path) + terms.joined())
  }

  /// `Device (path) { … }`.
  static func device(_ path: String, _ terms: [Term]) -> Term {
    [Opcode.extended, Opcode.extendedDevice] + sized(nameString(path) + terms.joined())
  }

  /// `Method (path, arguments, NotSerialized) { … }` of at most seven arguments. A method that creates names must be
  /// serialized.
  static func method(_ path: String, arguments: UInt8, _ terms: [Term], isSerialized: Bool = false) -> Term {
    [Opcode.method] + sized(nameString(path) + [arguments | (isSerialized ? 8 : 0)] + terms.joined())
  }

  /// `Notify (path, value)`.
  static func notify(_ path: String, _ value: UInt64) -> Term {
    [Opcode.notify] + nameString(path) + integer(value)
  }

  // MARK: Data

  /// An integer in its shortest encoding.
  static func integer(_ value: UInt64) -> Term {
    var term: Term
    switch value {
    case 0: return [Opcode.zero]
    case 1: return [Opcode.one]
    case ...0xFF: return [Opcode.byte, UInt8(value)]
    case ...0xFFFF:
      term = [Opcode.word]
      term.append(little: UInt16(value))
    case ...0xFFFF_FFFF:
      term = [Opcode.doubleWord]
      term.append(little: UInt32(value))
    default:
      term = [Opcode.quadWord]
      term.append(little: value)
    }
    return term
  }

  /// A string of ASCII characters.
  static func string(_ text: String) -> Term { [Opcode.string] + text.utf8 + [0] }

  /// `EISAID ("PNP0A08")`: three letters of five bits and four hexadecimal digits, the most
  /// significant byte first.
  static func eisaID(_ text: String) -> Term {
    var value: UInt32 = 0
    for character in text.utf8.prefix(3) { value = value << 5 | UInt32(character & 0x1F) }
    value = value << 16 | (UInt32(text.dropFirst(3), radix: 16) ?? 0)
    return [Opcode.doubleWord] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
  }

  /// `Package () { … }` of at most 255 elements.
  static func package(_ elements: [Term]) -> Term {
    [Opcode.package] + sized([UInt8(elements.count)] + elements.joined())
  }

  /// `Buffer () { … }`.
  static func buffer(_ bytes: [UInt8]) -> Term {
    [Opcode.buffer] + sized(integer(UInt64(bytes.count)) + bytes)
  }

  // MARK: Encoding

  /// Encodes a name. Periods separate its segments, and a leading `\` starts it at the root.
  /// Each segment has up to four characters and is padded with underscores.
  static func nameString(_ path: String) -> [UInt8] {
    let isAbsolute = path.hasPrefix("\\")
    let segments = path.drop { $0 == "\\" }.split(separator: ".")
    var bytes: [UInt8] = isAbsolute ? [0x5C] : []
    switch segments.count {
    case 0: bytes.append(Opcode.zero)
    case 1: break
    case 2: bytes.append(Opcode.dualName)
    default: bytes += [Opcode.multiName, UInt8(segments.count)]
    }
    for segment in segments { bytes.append(String(segment), width: 4, fill: 0x5F) }
    return bytes
  }

  /// Prepends the package length to a term's body. The length includes its own bytes (ACPI 6.5 §20.2.4).
  static func sized(_ body: [UInt8]) -> [UInt8] {
    if body.count + 1 < 1 << 6 { return [UInt8(body.count + 1)] + body }
    var more = 1
    while body.count + 1 + more >= 1 << (4 + 8 * more) { more += 1 }
    let length = body.count + 1 + more
    var bytes = [UInt8(more << 6 | length & 0xF)]
    for index in 0..<more { bytes.append(UInt8(truncatingIfNeeded: length >> (4 + 8 * index))) }
    return bytes + body
  }
}
