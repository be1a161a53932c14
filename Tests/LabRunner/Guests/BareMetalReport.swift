// SPDX-License-Identifier: Apache-2.0

/// The output of a guest of `Guests/`: lines `ok - TEXT` and `not ok - TEXT`, and `done N` at the end.
struct BareMetalReport {
  var passed: [String] = []
  /// The checks that the guest could not make, `ok - skipped: TEXT`.
  var skipped: [String] = []
  var failed: [String] = []
  /// The number after `done`, which is the expected number of checks.
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

  /// A description of the failure, or nil if every check passed.
  var fault: String? {
    if !failed.isEmpty { return failed.map { "not ok: \($0)" }.joined(separator: "; ") }
    guard let promised else { return "the guest did not reach its end (\(passed.count) checks passed)" }
    if passed.isEmpty { return "the guest passed no check" }
    let made = passed.count + skipped.count
    return promised == made ? nil : "the guest announced \(promised) checks and made \(made)"
  }

  var remark: String {
    "\(passed.count) checks" + (skipped.isEmpty ? "" : ", not checked: " + skipped.joined(separator: ", "))
  }
}
