// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs `swift test`, prints the lines that `Filter` selects, and counts the results.
enum UnitTests {
  struct Count: Equatable {
    var passed = 0
    var failed = 0
    var skipped = 0

    /// Adds up the `testsuite` elements of an xUnit file.
    init(xunit text: String) {
      for part in text.split(separator: "<testsuite ").dropFirst() {
        func number(_ name: String) -> Int {
          guard let range = part.range(of: " \(name)=\"") ?? part.range(of: "\(name)=\"") else { return 0 }
          return Int(part[range.upperBound...].prefix(while: \.isNumber)) ?? 0
        }
        failed += number("failures") + number("errors")
        skipped += number("skipped")
        passed += number("tests") - number("failures") - number("errors") - number("skipped")
      }
    }

    init() {}
  }

  /// The selection of lines to print.
  ///
  /// Failures, the success of a suite and the output of tests are printed. The start and the success of a
  /// test are not. Their arguments may span several lines.
  struct Filter {
    private var isInside = false

    mutating func shows(_ line: String) -> Bool {
      if line.hasPrefix("✔ Test run") { return true }
      let begins = line.hasPrefix("◇") || line.hasPrefix("✔ Test ")
      guard begins || isInside else { return !line.contains(#/^\[[0-9]+/[0-9]+\] /#) }
      isInside = !line.hasSuffix("started.") && !line.hasSuffix(" seconds.")
      return false
    }
  }

  /// Runs the unit tests.
  ///
  /// - Parameters:
  ///   - only: A regular expression for the names of tests, or nil for all. The tests run one after the other then.
  ///   - variables: More variables of the environment, as NAME=VALUE.
  static func run(only: String? = nil, variables: [String] = []) throws -> Count {
    let directory = FileManager.default.temporaryDirectory.appending(path: "lab-unit-\(getpid())")
    try directory.makeDirectory()
    defer { try? FileManager.default.removeItem(at: directory) }  // a remaining directory is harmless
    printLine("lab: unit tests \((variables + [only ?? ""]).joined(separator: " "))")
    var filter = Filter()
    let status = try Command.follow(
      ["env"] + variables + ["swift", "test", "--xunit-output", directory.appending(path: "unit.xml").path]
        + (only.map { ["--no-parallel", "--filter", $0] } ?? [])
    ) { line in
      if filter.shows(line) { printLine(line) }
    }
    var count = Count()
    for name in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
      let text = try String(contentsOf: directory.appending(path: name), encoding: .utf8)
      let part = Count(xunit: text)
      count.passed += part.passed
      count.failed += part.failed
      count.skipped += part.skipped
    }
    // A failed build or a crashed test leaves no counts. It is one failure.
    if status != 0, count.failed == 0 { count.failed = 1 }
    printLine(
      "lab: unit tests: \(count.passed) passed, \(count.failed) failed, \(count.skipped) skipped (status \(status))"
    )
    return count
  }
}
