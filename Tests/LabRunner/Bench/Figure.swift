// SPDX-License-Identifier: Apache-2.0

/// One number that `bench` measures for each monitor.
struct Figure: Sendable {
  let name: String
  let title: String
  let unit: String
  var aims: [Aim] = []

  init(_ name: String, _ title: String, _ unit: String, _ aims: Aim...) {
    (self.name, self.title, self.unit, self.aims) = (name, title, unit, aims)
  }
}

/// What Sluice's figure should be.
struct Aim: Sendable, Equatable {
  enum Reference: Sendable, Equatable {
    /// The number itself.
    case number
    /// That many times what this one has.
    case vmm(VMMName)
    /// That many times what the best of the others has.
    case best
  }

  let limit: Double
  let reference: Reference
  /// Whether more is better.
  var isLeast = false

  static func atMost(_ limit: Double) -> Aim { Aim(limit: limit, reference: .number) }
  static func atMost(_ limit: Double, times vmm: VMMName) -> Aim {
    Aim(limit: limit, reference: .vmm(vmm))
  }
  static func atMost(timesBest limit: Double) -> Aim { Aim(limit: limit, reference: .best) }
  static func atLeast(_ limit: Double, times vmm: VMMName) -> Aim {
    Aim(limit: limit, reference: .vmm(vmm), isLeast: true)
  }

  func isMet(by value: Double) -> Bool { isLeast ? value >= limit : value <= limit }

  var text: String { "\(isLeast ? "≥" : "≤") \(Series.short(limit))" }
}
