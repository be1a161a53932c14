// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct ReportTests {
  @Test("shows failures, output and the end of the unit tests, and not passed tests")
  func lines() {
    var filter = UnitTests.Filter()
    for line in [
      "◇ Test run started.", "◇ Suite A started.", "✔ Test \"a\" passed after 0.1 seconds.",
      "✔ Test case passing 1 argument a → 1 to \"b\" passed after 0.1 seconds.",
      "[3/70] Compiling PCI A.swift",
      "◇ Test case passing 1 argument output → \"ok - one", "done 0", "\" to \"a guest\" started.",
    ] {
      let shown = filter.shows(line)
      #expect(!shown, "\(line)")
    }
    for line in [
      "✘ Test \"a\" recorded an issue at A.swift:1:2: Expectation failed", "✘ Suite A failed after 1 second.",
      "✔ Suite A passed after 0.1 seconds.", "✔ Test run with 379 tests in 60 suites passed after 9 seconds.",
      "explorer: 4753 states", "/a/b.swift:1:2: error: no such thing", "",
    ] {
      let shown = filter.shows(line)
      #expect(shown, "\(line)")
    }
  }

  @Test("records failures and retries by their full names")
  func failures() {
    var report = Report()
    report.add(Event(.pass, "one"))
    report.add(Event(.fail, "two", text: "why"), prefix: "l1-6.1/")
    report.add(Event(.skip, "three", text: "no kernel"))
    report.add(Event(.note, "one", text: "a remark"))
    report.add(retry: "l1-6.1/four")
    report.add(passed: 5, failed: 1, skipped: 2)
    #expect((report.passed, report.failed, report.skipped) == (6, 2, 3))
    #expect(report.failures == ["l1-6.1/two: why", "unit tests: 1 failed"])
    #expect(report.retried == ["l1-6.1/four"])
    #expect(report.finish() == 1)
  }

  @Test("follows the lines of both streams of a program, and returns its status")
  func follow() throws {
    var lines: [String] = []
    let status = try Command.follow(["sh", "-c", "echo a; echo b >&2; exit 3"]) { lines.append($0) }
    #expect(lines.sorted() == ["a", "b"])
    #expect(status == 3)
  }
}
