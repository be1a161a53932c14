// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct SeriesTests {
  @Test(
    "computes the median of an odd and of an even number of values",
    arguments: [([3.0, 1, 2], 2.0), ([4, 1, 3, 2], 2.5)])
  func median(values: [Double], middle: Double) {
    #expect(Series(values)?.median == middle)
  }

  @Test("a series without values is nil")
  func none() { #expect(Series([]) == nil) }

  @Test("computes ratios pair by pair, not from the medians")
  func ratios() {
    // The medians' ratio would be 1.
    let ratio = Series([1, 2, 30], over: [2, 1, 10])
    #expect(ratio?.values == [0.5, 2, 3])
    #expect(ratio?.median == 2)
  }

  @Test("drops a value without a partner, and rejects a division by 0")
  func pairs() {
    #expect(Series([1, 2], over: [4])?.values == [0.25])
    #expect(Series([1], over: [0]) == nil)
  }

  @Test(
    "formats three significant digits",
    arguments: [
      (0, "0"), (3, "3"), (-2, "-2"), (1234.5, "1235"), (12.34, "12.3"), (1.239, "1.24"), (0.1234, "0.123"),
      (0.05, "0.0500"), (-0.25, "-0.250"), (99.96, "100.0"), (0.00001, "0.0000"), (25114, "25114"),
    ])
  func short(value: Double, text: String) { #expect(Series.short(value) == text) }

  @Test("shows the spread only if the values differ")
  func text() {
    #expect(Series([5, 5])?.text == "5")
    #expect(Series([1.5, 2.5, 2])?.text == "2 (1.50–2.50)")
  }
}
