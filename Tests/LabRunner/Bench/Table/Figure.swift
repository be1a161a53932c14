// SPDX-License-Identifier: Apache-2.0

/// One number that `bench` measures for each VMM.
struct Figure: Sendable {
  let name: String
  let title: String
  let unit: String
  var aims: [Aim] = []
  /// The clock, or nil if the figure is not a time.
  var clock: Clock?

  /// The clock of a figure.
  enum Clock: String, Sendable {
    /// The clock that counts L1's instructions.
    case instructions = "by instructions"
    /// The clock of this machine.
    case wall = "by the wall clock"
  }

  /// The title with the unit and the clock.
  var label: String {
    let unit = [unit.isEmpty ? nil : unit, clock?.rawValue].compactMap(\.self).joined(separator: " ")
    return unit.isEmpty ? title : "\(title), \(unit)"
  }

  init(_ name: String, _ title: String, _ unit: String, _ aims: Aim...) {
    (self.name, self.title, self.unit, self.aims) = (name, title, unit, aims)
  }
}

/// A limit that Sluice's figure should meet.
struct Aim: Sendable, Equatable {
  enum Reference: Sendable, Equatable {
    /// The limit is an absolute number.
    case number
    /// The limit is a factor of the number of this VMM.
    case vmm(VMMName)
    /// The limit is a factor of the best number of the other VMMs.
    case best
  }

  let limit: Double
  let reference: Reference
  /// True if the limit is a minimum.
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
