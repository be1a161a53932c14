// SPDX-License-Identifier: Apache-2.0

/// Values in the order of measurement, with their median, minimum and maximum.
struct Series: Equatable {
  let values: [Double]

  /// Creates a series, or returns nil if there are no values.
  init?(_ values: [Double]) {
    guard !values.isEmpty else { return nil }
    self.values = values
  }

  /// Creates a series of ratios, pair by pair. Returns nil if there is no pair, or if a ratio is not finite.
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

  /// `MEDIAN (MINIMUM–MAXIMUM)`, or the median alone if all values are equal.
  var text: String {
    minimum == maximum
      ? Self.short(median) : "\(Self.short(median)) (\(Self.short(minimum))–\(Self.short(maximum)))"
  }

  /// Formats a number with three significant digits, and a whole number with all digits.
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
