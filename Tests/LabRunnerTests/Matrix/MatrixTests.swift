// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Testing

@testable import LabRunner

@Suite struct MatrixTests {
  private static func row(_ kernel: L1Kernel, _ events: [Event]) -> MatrixRow {
    var report = Report()
    for event in events { report.add(event) }
    var row = MatrixRow(kernel)
    row.take(report, seconds: 7)
    return row
  }

  private static let mutant: L1Kernel = {
    var kernel = L1Kernel(.latestFull, iommufd: true)
    kernel.mutant = .noZap
    return kernel
  }()

  private static let good = row(
    L1Kernel(.newFull),
    [Event(.ready), Event(.start, "a"), Event(.pass, "a"), Event(.skip, "b", text: "needs Linux 6.19")])
  private static let bad = row(mutant, [Event(.ready), Event(.fail, "a", text: "two\nlines")])

  @Test("the status for bisect is 0 for passed cases, 1 for a failure, 125 without any result")
  func status() {
    let l1 = L1Kernel(.oldFull)
    #expect(Self.good.bisectStatus == 0)
    #expect(Self.row(l1, [Event(.ready), Event(.pass, "a"), Event(.fail, "b")]).bisectStatus == 1)
    #expect(Self.row(l1, [Event(.ready), Event(.skip, "a")]).bisectStatus == 125)
    #expect(Self.row(l1, [Event(.fail, "a", text: "L1 ended")]).bisectStatus == 125)
    #expect(Self.row(l1, []).bisectStatus == 125)
  }

  @Test("a kernel with a fault is expected to fail a case")
  func mutants() {
    #expect(Self.bad.isExpected && Self.bad.name == "7.3-iommufd-no-zap")
    #expect(!Self.row(Self.mutant, [Event(.ready), Event(.pass, "a")]).isExpected)
    #expect(!Self.row(L1Kernel(.newFull), [Event(.ready), Event(.fail, "a")]).isExpected)
  }

  @Test("the table has a line for each case, and the reasons below it")
  func table() {
    let text = MatrixTable(cases: ["a", "b"], rows: [Self.good, Self.bad]).text
    #expect(
      text == """
                 6.12    7.3-iommufd-no-zap
        a        pass    fail
        b        skip    -
        seconds  7       7

        6.12: 1 passed, 0 failed, 1 skipped
          skip b: needs Linux 6.19
        7.3-iommufd-no-zap: 0 passed, 1 failed, 0 skipped; the kernel's fault 'no-zap' is detected
          fail a: two
        lines

        """)
  }

  @Test("KTAP has a test for each row, with a subtest for each case")
  func ktap() {
    #expect(
      MatrixTable(cases: ["a", "b"], rows: [Self.good, Self.bad]).ktap == """
        KTAP version 1
        1..2
          KTAP version 1
          # Subtest: 6.12
          1..2
          ok 1 a
          ok 2 b # SKIP needs Linux 6.19
        ok 1 6.12
          KTAP version 1
          # Subtest: 7.3-iommufd-no-zap
          1..1
          # two lines
          not ok 1 a
        ok 2 7.3-iommufd-no-zap

        """)
  }

  @Test("the default rows name at most 20 existing cases")
  func defaults() throws {
    #expect(MatrixCommand.defaultCases.count <= 20)
    #expect(throws: Never.self) { try cases(named: MatrixCommand.defaultCases) }
    #expect(MatrixCommand.rows.map(MatrixRow.name) == ["6.1", "6.12", "6.12-iommufd", "7.3", "7.3-iommufd"])
  }

  @Test(
    "a row that does not exist, and --row with --l1, are refused",
    arguments: [["--row", "9.9"], ["--row", "6.1", "--l1", "6.12"], ["--l1", "/nonexistent"], ["no-case"]])
  func refused(_ arguments: [String]) {
    #expect(throws: (any Error).self) { try MatrixCommand.parse(arguments).validate() }
  }
}
