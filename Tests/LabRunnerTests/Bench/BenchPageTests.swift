// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct BenchPageTests {
  @Test("the article has the conditions, and each row of the table with as many cells as the heading")
  func page() throws {
    var samples = Samples()
    samples.add(["f": 3], of: .sluice)
    samples.add(["f": 6], of: .qemu)
    let figure = Figure("f", "figure", "ms", .atMost(0.6, times: .qemu))
    let page = BenchPage(
      table: BenchTable([figure], samples), conditions: "Linux 6.12, QEMU 7.2", date: "2026-11-29", pairs: 5,
      processor: "EPYC, 2 CPUs"
    ).text
    #expect(page.hasPrefix("# Measurements\n"))
    for line in [
      "- Date: 2026-11-29", "- Machine: EPYC, 2 CPUs", "- L1: Linux 6.12, QEMU 7.2", "- Rounds: 5",
    ] {
      #expect(page.contains("\n\(line)\n"))
    }
    #expect(page.contains("\n- Aims: 1 met, 0 missed\n"))
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("|") }
    #expect(rows.count == 4)
    #expect(Set(rows.map { $0.split(separator: "|", omittingEmptySubsequences: false).count }) == [8])
    #expect(rows.last == "|  | QEMU q35 | 6 | 0.500 | ≤ 0.600 | met |")
  }
}
