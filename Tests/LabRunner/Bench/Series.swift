// SPDX-License-Identifier: Apache-2.0

/// Numbers of one kind, in the order in which they were taken: their middle and their ends.
struct Series: Equatable {
  let values: [Double]

  /// Nil where there are none.
  init?(_ values: [Double]) {
    guard !values.isEmpty else { return nil }
    self.values = values
  }

  /// The ratios of two kinds, pair by pair; nil where there is no pair, or a pair without a ratio.
  init?(_ values: [Double], over others: [Double]) {
    let ratios = zip(values, others).map { $0 / $1 }
    guard ratios.allSatisfy(\.isFinite) else { return nil }
    self.init(ratios)
  }

  var median: Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }

  var minimum: Double { values.min() ?? 0 }
  var maximum: Double { values.max() ?? 0 }

  /// `MEDIAN (MINIMUM–MAXIMUM)`; the median alone where all are the same.
  var text: String {
    minimum == maximum
      ? Self.short(median) : "\(Self.short(median)) (\(Self.short(minimum))–\(Self.short(maximum)))"
  }

  /// A number with three digits that count; whole numbers as they are.
  static func short(_ value: Double) -> String {
    let size = value.magnitude
    if value == value.rounded(), size < 1e15 { return String(Int(value)) }
    let decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let scaled = Int((size * scale).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard decimals > 0 else { return "\(sign)\(scaled)" }
    let fraction = String(scaled % Int(scale))
    return "\(sign)\(scaled / Int(scale))." + String(repeating: "0", count: decimals - fraction.count)
      + fraction
  }
}
