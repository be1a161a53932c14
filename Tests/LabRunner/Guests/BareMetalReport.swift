// SPDX-License-Identifier: Apache-2.0

/// What a guest of `Guests/` printed: `ok - TEXT`, `not ok - TEXT`, at the end `done N`.
struct BareMetalReport {
  var passed: [String] = []
  /// What the guest said it could not check, `ok - skipped: TEXT`.
  var skipped: [String] = []
  var failed: [String] = []
  /// The number after `done`: how many lines there should be.
  var promised: Int?

  init(_ output: String) {
    for line in output.split(whereSeparator: \.isNewline) {
      if line.hasPrefix("ok - skipped: ") {
        skipped.append(String(line.dropFirst(14)))
      } else if line.hasPrefix("ok - ") {
        passed.append(String(line.dropFirst(5)))
      } else if line.hasPrefix("not ok - ") {
        failed.append(String(line.dropFirst(9)))
      } else if line.hasPrefix("done ") {
        promised = Int(line.dropFirst(5).filter(\.isNumber))
      }
    }
  }

  /// Nil when everything is as it should be.
  var fault: String? {
    if !failed.isEmpty { return failed.map { "not ok: \($0)" }.joined(separator: "; ") }
    guard let promised else { return "it did not reach its end (\(passed.count) checks)" }
    if passed.isEmpty { return "it checked nothing" }
    let made = passed.count + skipped.count
    return promised == made ? nil : "it promised \(promised) checks and made \(made)"
  }

  var remark: String {
    "\(passed.count) checks" + (skipped.isEmpty ? "" : ", not checked: " + skipped.joined(separator: ", "))
  }
}
