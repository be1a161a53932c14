// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The facts that a guest wrote: keys and values, in the order of writing.
struct Observations {
  private(set) var keys: [String] = []
  private(set) var values: [String: String] = [:]

  init() {}

  /// Adds the lines `key = value` of a probe guest's output. The firmware's output is ignored.
  mutating func add(probe output: String) {
    for line in output.split(whereSeparator: \.isNewline) {
      guard let range = line.range(of: " = ") else { continue }
      let key = line[..<range.lowerBound].split(separator: " ").last ?? ""
      guard let first = key.first, first.isLetter else { continue }
      add(Self.clean(String(key)), String(line[range.upperBound...]))
    }
  }

  /// Removes firmware output that precedes a key on the same line.
  private static func clean(_ key: String) -> String {
    key.range(of: "..", options: .backwards).map { String(key[$0.upperBound...]) } ?? key
  }

  /// Parses facts in the format of ``text``.
  init(text: String) {
    for line in text.split(separator: "\n") {
      guard let range = line.range(of: " = ") else { continue }
      add(String(line[..<range.lowerBound]), String(line[range.upperBound...]))
    }
  }

  /// Adds a fact. A key that already exists gets a number.
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
