// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import VMM

@Suite struct ProgressLineTests {
  private static let second: Int64 = 1_000_000

  private static func line(total: UInt64 = 64 << 30, isShared: Bool = false) -> ProgressLine {
    ProgressLine(total: total, verb: "pinned", start: 5 * second, isShared: isShared)
  }

  @Test("an operation of less than one second shows no line", arguments: [false, true])
  func quick(_ isShared: Bool) {
    var line = Self.line(isShared: isShared)
    #expect(line.text(done: 1 << 30, at: 5 * Self.second + 999_999) == nil)
    #expect(line.text(done: 64 << 30, at: 9 * Self.second) == nil, "no first line appears after the end")
    #expect(line.end(done: 1 << 30) == nil)
  }

  @Test("the line is updated until all is done, at most every 200 ms")
  func rewritten() {
    var line = Self.line()
    #expect(line.text(done: 7 << 30, at: 6 * Self.second) == "sluice: guest RAM:  7 of 64 GiB pinned")
    #expect(line.text(done: 8 << 30, at: 6 * Self.second + 199_999) == nil)
    #expect(
      line.text(done: 12 << 30, at: 6 * Self.second + 200_000) == "\rsluice: guest RAM: 12 of 64 GiB pinned")
    #expect(line.end(done: 12 << 30) == "\r\n")
    #expect(
      line.text(done: 64 << 30, at: 6 * Self.second + 200_001)
        == "\rsluice: guest RAM: 64 of 64 GiB pinned\r\n")
    #expect(line.end(done: 64 << 30) == nil)
  }

  @Test("on the guest's terminal the line is written once")
  func shared() {
    var line = Self.line(isShared: true)
    #expect(
      line.text(done: 7 << 30, at: 6 * Self.second) == "sluice: guest RAM:  7 of 64 GiB pinned so far\r\n")
    #expect(line.text(done: 8 << 30, at: 9 * Self.second) == nil)
    #expect(line.text(done: 64 << 30, at: 19 * Self.second) == nil)
    #expect(line.end(done: 8 << 30) == nil)
  }

  @Test("less than 64 GiB is counted in MiB")
  func small() {
    var line = Self.line(total: 512 << 20)
    #expect(line.text(done: 128 << 20, at: 7 * Self.second) == "sluice: guest RAM: 128 of 512 MiB pinned")
  }
}
