// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A guest's report, in lines that the lab reads: `ok - …` and `not ok - …` for checks, `# …` for values, and
/// `done N` after N checks.
struct Report: ~Copyable {
  private var checks: UInt32 = 0
  private var failures: UInt32 = 0

  /// True if all checks so far have passed.
  var isGood: Bool { failures == 0 }

  /// Reports a check.
  @inline(never)
  mutating func check(_ condition: Bool, _ text: Line) {
    _ = text
    checks += 1
    if !condition { failures += 1 }
    prefix(condition ? "ok - " : "not ok - ")
  }

  /// Reports a check that a value equals the expected value. Reports both values if they differ.
  @inline(never)
  mutating func equal<Value: FixedWidthInteger & UnsignedInteger>(
    _ value: Value, _ expected: Value, _ text: Line
  ) {
    if value != expected { text.append(value: UInt64(value), expected: UInt64(expected)) }
    check(value == expected, text)
  }

  /// Reports a value.
  func note(_ text: Line) {
    _ = text
    prefix("# ")
  }

  /// Reports a check that was skipped, with the reason. It does not count as a failure.
  mutating func skip(_ text: Line) {
    _ = text
    checks += 1
    prefix("ok - skipped: ")
  }

  /// Reports the end and the number of checks.
  func end() { Console.print("done \(checks)") }

  /// Ends the report and the machine. Writes 0 to the debug exit port if all checks passed, else 1.
  consuming func finish() -> Never {
    end()
    Machine.exit(value: failures == 0 && checks > 0 ? 0 : 1)
  }

  @inline(never)
  private func prefix(_ text: StaticString) {
    for index in 0..<text.byteCount { Console.write(text.byte(index)) }
    Console.flush()
  }
}

/// Reports an unexpected exception and ends the machine. Called by interrupts.c.
@c(exception_report)
func reportException(vector: UInt64, error: UInt64, rip: UInt64, cr2: UInt64) {
  Console.print(
    "not ok - exception \(vector), error \(hex: error), at \(hex: rip), address \(hex: cr2)")
  Machine.exit(value: 1)
}
