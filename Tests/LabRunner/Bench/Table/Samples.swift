// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The samples of `bench`, by figure and VMM, in the order of measurement.
struct Samples: Codable, Equatable {
  var values: [String: [String: [Double]]] = [:]

  /// Adds the numbers of one VMM in one round.
  mutating func add(_ numbers: [String: Double], of vmm: VMMName) {
    for (figure, number) in numbers { values[figure, default: [:]][vmm.rawValue, default: []].append(number) }
  }

  mutating func merge(_ other: Samples) { values.merge(other.values) { $1 } }

  static func read(_ file: URL) throws -> Samples {
    try JSONDecoder().decode(Samples.self, from: Data(contentsOf: file))
  }

  func write(to file: URL) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try encoder.encode(self).write(to: file)
  }
}
