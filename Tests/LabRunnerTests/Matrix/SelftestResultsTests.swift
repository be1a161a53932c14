// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct SelftestResultsTests {
  @Test("counts the results of a selftest in KTAP, and keeps the names of failed and skipped tests")
  func results() {
    let results = SelftestResults(
      """
      TAP version 13
      1..4
      # Starting 4 tests from 2 test cases.
      ok 1 device.iommufd.reset
      not ok 2 device.iommufd.map
      ok 3 device.type1.huge # SKIP no huge pages
      ok 4 device.type1.reset
      # FAILED: 3 / 4 tests passed.
      """)
    #expect(results.passed == 2)
    #expect(results.failed == ["device.iommufd.map"])
    #expect(results.skipped == ["device.type1.huge: no huge pages"])
  }
}
