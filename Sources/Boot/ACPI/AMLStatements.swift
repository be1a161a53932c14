// SPDX-License-Identifier: Apache-2.0

/// Encoders for the statements and operators of a method (ACPI 6.5 §20.2.5).
extension AML {
  private enum Opcode {
    static let local: UInt8 = 0x60
    static let argument: UInt8 = 0x68
    static let store: UInt8 = 0x70
    static let and: UInt8 = 0x7B
    static let or: UInt8 = 0x7D
    static let doubleWordField: UInt8 = 0x8A
    static let not: UInt8 = 0x92
    static let equal: UInt8 = 0x93
    static let when: UInt8 = 0xA0
    static let otherwise: UInt8 = 0xA1
    static let result: UInt8 = 0xA4
  }

  /// `Arg0` to `Arg6`.
  static func argument(_ number: UInt8) -> Term { [Opcode.argument + number] }

  /// `Local0` to `Local7`.
  static func local(_ number: UInt8) -> Term { [Opcode.local + number] }

  /// `If (condition) { … } Else { … }`.
  static func when(_ condition: Term, _ terms: [Term], otherwise: [Term] = []) -> Term {
    let first = [Opcode.when] + sized(condition + terms.joined())
    return otherwise.isEmpty ? first : first + [Opcode.otherwise] + sized(Array(otherwise.joined()))
  }

  /// `LEqual (left, right)`.
  static func equal(_ left: Term, _ right: Term) -> Term { [Opcode.equal] + left + right }

  /// `LNot (value)`.
  static func not(_ value: Term) -> Term { [Opcode.not] + value }

  /// `And (left, right, target)`.
  static func and(_ left: Term, _ right: Term, into target: Term) -> Term {
    [Opcode.and] + left + right + target
  }

  /// `Or (left, right, target)`.
  static func or(_ left: Term, _ right: Term, into target: Term) -> Term {
    [Opcode.or] + left + right + target
  }

  /// `Store (value, target)`.
  static func store(_ value: Term, into target: Term) -> Term { [Opcode.store] + value + target }

  /// `CreateDWordField (buffer, offset, name)`.
  static func doubleWordField(_ name: String, of buffer: Term, at offset: UInt64) -> Term {
    [Opcode.doubleWordField] + buffer + integer(offset) + nameString(name)
  }

  /// `Return (value)`.
  static func result(_ value: Term) -> Term { [Opcode.result] + value }
}
