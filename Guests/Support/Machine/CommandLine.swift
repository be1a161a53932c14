// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The command line, words with optional values: `device=3 toggles=10000`.
struct CommandLine {
  /// Guest-physical address of a NUL-terminated string, or 0.
  let address: UInt64

  private static let maximum: UInt64 = 4096

  /// The number of bytes before the NUL.
  var length: UInt64 {
    guard address != 0 else { return 0 }
    var length: UInt64 = 0
    while length < Self.maximum, byte(length) != 0 { length += 1 }
    return length
  }

  func byte(_ index: UInt64) -> UInt8 { mmio_load8(address + index) }

  /// Returns the index of the value in `name=value`, or nil.
  private func value(of name: StaticString) -> UInt64? {
    let end = length
    var word: UInt64 = 0
    while word < end {
      let count = name.byteCount
      var same: UInt64 = 0
      while same < count, word + same < end, byte(word + same) == name.byte(same) { same += 1 }
      if same == count, word + same < end, byte(word + same) == 0x3D { return word + count + 1 }
      while word < end, byte(word) != 0x20 { word += 1 }
      while word < end, byte(word) == 0x20 { word += 1 }
    }
    return nil
  }

  /// Returns the number in `name=number`, or nil. The number is decimal, or hexadecimal after `0x`.
  func number(_ name: StaticString) -> UInt64? {
    guard var index = value(of: name) else { return nil }
    var radix: UInt64 = 10
    if byte(index) == 0x30, byte(index + 1) == 0x78 {
      radix = 16
      index += 2
    }
    var number: UInt64 = 0
    var digits = 0
    while let digit = Self.digit(byte(index)), digit < radix {
      number = number &* radix &+ digit
      digits += 1
      index += 1
    }
    return digits > 0 ? number : nil
  }

  /// Returns true if the line contains `name=word`.
  func has(_ name: StaticString, _ word: StaticString) -> Bool {
    guard let index = value(of: name) else { return false }
    let count = word.byteCount
    for offset in 0..<count where byte(index + offset) != word.byte(offset) { return false }
    let next = byte(index + count)
    return next == 0 || next == 0x20
  }

  private static func digit(_ character: UInt8) -> UInt64? {
    switch character {
    case 0x30...0x39: UInt64(character - 0x30)
    case 0x61...0x66: UInt64(character - 0x57)
    case 0x41...0x46: UInt64(character - 0x37)
    default: nil
    }
  }
}
