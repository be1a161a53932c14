// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct BenchTableTests {
  private func table(_ figure: Figure, _ values: [VMMName: [Double]]) -> BenchTable {
    var samples = Samples()
    for (vmm, numbers) in values { for number in numbers { samples.add([figure.name: number], of: vmm) } }
    return BenchTable([figure], samples)
  }

  @Test("each VMM has a row with its ratio and its aim, and Sluice is first")
  func rows() {
    let figure = Figure("f", "figure", "ms", .atMost(0.5, times: .qemu))
    let table = table(figure, [.qemu: [10, 20], .sluice: [1, 18], .microvm: [2, 2]])
    #expect(table.rows.map(\.monitor) == ["Sluice", "QEMU q35", "QEMU microvm"])
    #expect(table.rows.map(\.figure) == ["figure, ms", "", ""])
    #expect(table.rows.map(\.ratio) == ["", "0.500 (0.100–0.900)", "4.75 (0.500–9)"])
    #expect(table.rows.map(\.aim) == ["", "≤ 0.500", ""])
    #expect(table.rows.map(\.verdict) == ["", "met", ""])
  }

  @Test("the median of the ratios decides", arguments: [([1.0, 2, 9], "met"), ([1, 6, 9], "missed")])
  func verdict(values: [Double], verdict: String) {
    let table = table(
      Figure("f", "f", "", .atMost(0.5, times: .qemu)), [.sluice: values, .qemu: [10, 10, 10]])
    #expect(table.rows[1].verdict == verdict)
    #expect((table.met, table.missed) == (verdict == "met" ? (1, 0) : (0, 1)))
  }

  @Test("an aim of at least requires a greater ratio")
  func least() {
    let figure = Figure("f", "f", "", .atLeast(1, times: .qemu))
    #expect(table(figure, [.sluice: [9], .qemu: [10]]).rows[1].verdict == "missed")
    #expect(table(figure, [.sluice: [10], .qemu: [10]]).rows[1].verdict == "met")
  }

  @Test("an aim that is a number is in the row of Sluice")
  func number() {
    let table = table(Figure("f", "f", "", .atMost(4)), [.sluice: [5, 3, 4], .qemu: [1, 1, 1]])
    #expect(table.rows.map(\.verdict) == ["met", ""])
  }

  @Test("selects the best of the others in each round")
  func best() {
    let figure = Figure("f", "f", "", .atMost(timesBest: 0.9))
    let table = table(figure, [.sluice: [9, 9], .qemu: [10, 30], .microvm: [30, 10]])
    #expect(table.rows.last?.monitor == "best of the others")
    #expect(table.rows.last?.value == "10")
    #expect(table.rows.last?.verdict == "met")
  }

  @Test("a VMM without samples has no row, and no ratio without samples of Sluice")
  func absent() {
    let figure = Figure("f", "f", "", .atMost(0.5, times: .qemu), .atMost(timesBest: 1))
    #expect(table(figure, [.qemu: [1]]).rows.map(\.ratio) == [""])
    #expect(table(figure, [.qemu: [1]]).missed == 0)
    #expect(table(figure, [:]).rows.isEmpty)
  }

  @Test("columns are aligned, and no line has trailing spaces")
  func lines() {
    let lines = table(Figure("f", "long title", ""), [.sluice: [1], .qemu: [2]]).lines
    #expect(lines[0].hasPrefix("figure      VMM"))
    #expect(lines[1] == "long title  Sluice    1")
    #expect(lines.allSatisfy { !$0.hasSuffix(" ") })
  }

  @Test("merges the samples of two measurements")
  func samples() {
    var samples = Samples(values: ["a": ["sluice": [1]]])
    samples.merge(Samples(values: ["b": ["qemu": [2, 3]]]))
    #expect(samples.values == ["a": ["sluice": [1]], "b": ["qemu": [2, 3]]])
  }

  @Test("each figure and each measurement has a unique name")
  func names() {
    let names = Measurement.all.flatMap(\.figures).map(\.name)
    #expect(Set(names).count == names.count)
    #expect(Set(Measurement.all.map(\.name)).count == Measurement.all.count)
  }
}
