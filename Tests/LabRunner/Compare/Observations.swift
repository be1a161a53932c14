// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a guest saw: keys and values, in the order in which it wrote them.
struct Observations {
  private(set) var keys: [String] = []
  private(set) var values: [String: String] = [:]

  init() {}

  /// Takes the lines `key = value` out of a probe guest's output; the firmware's words are passed over.
  mutating func add(probe output: String) {
    for line in output.split(whereSeparator: \.isNewline) {
      guard let range = line.range(of: " = ") else { continue }
      let key = line[..<range.lowerBound].split(separator: " ").last ?? ""
      guard let first = key.first, first.isLetter else { continue }
      add(Self.clean(String(key)), String(line[range.upperBound...]))
    }
  }

  /// A key that follows the firmware's last words on the same line begins after them.
  private static func clean(_ key: String) -> String {
    key.range(of: "..", options: .backwards).map { String(key[$0.upperBound...]) } ?? key
  }

  /// Reads what ``text`` wrote.
  init(text: String) {
    for line in text.split(separator: "\n") {
      guard let range = line.range(of: " = ") else { continue }
      add(String(line[..<range.lowerBound]), String(line[range.upperBound...]))
    }
  }

  /// Adds a fact. A key that is there already gets a number.
  mutating func add(_ key: String, _ value: String) {
    var name = key
    var number = 2
    while values[name] != nil {
      name = "\(key)#\(number)"
      number += 1
    }
    keys.append(name)
    values[name] = value
  }

  var text: String { keys.map { "\($0) = \(values[$0] ?? "")\n" }.joined() }
}
