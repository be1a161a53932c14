// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct BaselineTests {
  private let conditions = Baseline.Conditions(kernel: "6.12.1", emulator: "7.2.22")

  @Test("reads the rows of each kernel and QEMU, and writes a row that it reads")
  func rows() throws {
    let text = "# comment\n6.12.1 7.2.22 start 187.25\n6.12.1 7.2.22 mask 79990\n\n6.1.0 7.2.22 start 200\n"
    let baseline = try Baseline(text: text)
    #expect(baseline.figures.count == 2)
    #expect(baseline.figures[conditions] == ["start": 187.25, "mask": 79990])
    let line = Baseline.line(conditions, "memory-bit", 1_243_032)
    #expect(line == "6.12.1 7.2.22 memory-bit 1243000")
    #expect(try Baseline(text: line).figures[conditions] == ["memory-bit": 1_243_000])
  }

  @Test("refuses another row", arguments: ["a b c", "a b c d", "a b c 0", "a b c -1", "a b c 1 2"])
  func invalid(_ row: String) { #expect(throws: LabError.self) { try Baseline(text: row) } }

  @Test("a change has its sign, and a missing figure is an increase without end")
  func changes() {
    let changes = Baseline.changes(from: ["a": 100, "b": 100, "c": 100], to: ["a": 111, "b": 89])
    #expect(changes.map(\.name) == ["a", "b", "c"])
    #expect(changes.map { $0.percent > CostCheck.tolerance } == [true, false, true])
    #expect(changes[1].percent == -11 && changes[0].description == "a 111 (+11.0 %)")
  }

  @Test("the file of the tree has every figure for each kernel and QEMU")
  func file() throws {
    let file = Workspace.current.tree.appending(path: "Tests/LabRunner/Bench/baseline")
    let baseline = try Baseline(text: String(contentsOf: file, encoding: .utf8))
    #expect(!baseline.figures.isEmpty)
    for figures in baseline.figures.values {
      #expect(Set(figures.keys) == Set(CostCheck.Name.allCases.map(\.rawValue)))
    }
  }
}
