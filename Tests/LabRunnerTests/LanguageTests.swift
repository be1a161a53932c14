// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// No file of the project has a pattern of `Tests/language`.
@Suite struct LanguageTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  private static let list = root.appending(path: "Tests/language")

  /// A row of the list.
  private struct Pattern {
    let expression: NSRegularExpression
    let example: String
    let remedy: String

    init(_ row: Substring) throws {
      let columns = row.split(separator: "\t").map(String.init)
      try #require(columns.count == 3, "\(row)")
      expression = try NSRegularExpression(pattern: columns[0], options: .caseInsensitive)
      (example, remedy) = (columns[1], columns[2])
    }

    /// Returns the lines of a text that have the pattern.
    func lines(of text: String) -> [Substring] {
      let matches = expression.matches(in: text, range: NSRange(text.startIndex..., in: text))
      return matches.compactMap { Range($0.range, in: text) }.map { text[text.lineRange(for: $0)] }
    }
  }

  private static func patterns() throws -> [Pattern] {
    try String(contentsOf: list, encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("#") }
      .map(Pattern.init)
  }

  /// Returns the text files of the project but the list itself.
  private static func files() throws -> [URL] {
    var files = ["README.md", "Package.swift", ".ci/run"].map { root.appending(path: $0) }
    for directory in ["Sources", "Tests", "Guests"] {
      let all = try #require(
        FileManager.default.enumerator(
          at: root.appending(path: directory), includingPropertiesForKeys: [.isRegularFileKey],
          options: .skipsHiddenFiles))
      files += all.compactMap { $0 as? URL }.filter {
        (try? $0.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile == true
      }
    }
    return files.filter { $0.path != list.path }
  }

  @Test("each pattern matches its example")
  func examples() throws {
    let patterns = try Self.patterns()
    #expect(patterns.count > 10)
    for pattern in patterns { #expect(pattern.lines(of: pattern.example).count == 1, "\(pattern.example)") }
  }

  @Test("no file has a pattern")
  func files() throws {
    let patterns = try Self.patterns()
    let files = try Self.files()
    #expect(files.count > 500)
    for file in files {
      let text = try String(contentsOf: file, encoding: .utf8)
      for pattern in patterns {
        for line in pattern.lines(of: text) {
          Issue.record("\(file.path): \(line): use \(pattern.remedy)")
        }
      }
    }
  }
}
