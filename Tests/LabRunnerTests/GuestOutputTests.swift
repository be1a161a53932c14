// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct GuestOutputTests {
  @Test("accepts the complete output of a small guest")
  func complete() {
    let report = BareMetalReport("noise\nok - one\r\nok - two\ndone 2\n")
    #expect(report.fault == nil)
    #expect(report.passed == ["one", "two"])
  }

  @Test(
    "rejects the incomplete or failed output of a small guest",
    arguments: ["", "ok - one\n", "done 0\n", "ok - one\ndone 2\n", "ok - one\nnot ok - two\ndone 2\n"])
  func incomplete(output: String) {
    #expect(BareMetalReport(output).fault != nil)
  }

  @Test("parses the lines of a Linux guest")
  func linux() {
    let lines = GuestLines(
      "[ 1.0] noise\nlab: init 6.12 cpus 4\nlab: ok nvme-sha256 lab-big abc\nlab: not ok network\nlab: end\n")
    #expect(lines.values(of: "nvme-sha256") == [["lab-big", "abc"]])
    #expect(lines.faults == ["not ok network"])
    #expect(lines.ended)
  }

  @Test("accepts the end of a Linux guest with a kernel message on the same line")
  func mixedEnd() {
    #expect(GuestLines("lab: end[    2.978222] sysrq: Trigger a crash\n").ended)
    #expect(!GuestLines("lab: ending\nlab: ok end\n").ended)
  }

  @Test("parses the counts of an xUnit file")
  func xunit() {
    let count = UnitTests.Count(
      xunit: #"<testsuites><testsuite name="t" errors="1" tests="9" failures="2" skipped="3" time="1.5">"#)
    #expect((count.passed, count.failed, count.skipped) == (3, 3, 3))
  }

  @Test("parses an event with noise of the serial port around it")
  func event() throws {
    let event = Event(.pass, "a-case", text: "with \"quotes\"", seconds: 1.5)
    #expect(Event(line: "\u{0}noise" + (try event.line()) + "\r") == event)
    #expect(Event(line: "[    1.0] a kernel message") == nil)
  }
}
