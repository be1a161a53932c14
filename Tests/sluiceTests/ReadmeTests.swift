// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// README.md is short, its links lead to files, and its figures are the figures of a measurement.
@Suite struct ReadmeTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  private let text: String

  init() throws { text = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8) }

  @Test("has at most 150 lines of at most 100 columns")
  func size() {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count <= 151, "the last newline counts as a line")
    for line in lines { #expect(line.count <= 100, "\(line)") }
  }

  @Test("each link leads to a file")
  func links() throws {
    let links = text.matches(of: /\]\(([^)]+)\)/)
    #expect(links.count > 10)
    for link in links {
      let isFile = FileManager.default.fileExists(atPath: Self.root.appending(path: String(link.1)).path)
      #expect(isFile, "\(link.1)")
    }
  }

  @Test("each ratio to QEMU is a ratio of the article with the measurements")
  func figures() throws {
    let article = try String(
      contentsOf: Self.root.appending(path: "Tests/LabRunner/LabRunner.docc/Measurements.md"), encoding: .utf8
    )
    let ratios = article.split(separator: "\n").filter { $0.hasPrefix("|  | QEMU q35 |") }.compactMap {
      $0.split(separator: "|", omittingEmptySubsequences: false)[4].split(separator: " ").first
    }
    let table = try #require(
      text.split(separator: "| figure | Sluice ÷ QEMU |").last?.split(separator: "\n\n").first)
    let rows = table.split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.contains("---") }
    let cells = rows.map { row in row.split(separator: "|").last ?? "" }
    let figures = cells.joined(separator: ";").split(separator: ";").map { $0.filter { $0 != " " } }
      .filter { !$0.isEmpty }
    #expect(figures.count >= 5)
    for figure in figures {
      let isMeasured = ratios.contains { $0 == figure }
      #expect(isMeasured, "\(figure)")
    }
  }
}
