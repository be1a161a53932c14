// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The article about troubleshooting has every remedy of the sources.
@Suite struct TroubleshootingTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Joins lines, and removes repeated spaces.
  private static func plain(_ text: String) -> String {
    text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }

  /// Returns the constant parts of the string literals in Swift code that have at least 8 characters.
  private static func constants(_ code: String) -> [String] {
    let joined = code.replacing(/"\s*\+ "/, with: "")
    let literals = joined.matches(of: /"((?:\\\((?:[^()]|\([^()]*(?:\([^()]*\)[^()]*)*\))*\)|[^"\\])*)"/)
    return literals.flatMap { literal in
      String(literal.1).replacing(/\\\((?:[^()]|\([^()]*(?:\([^()]*\)[^()]*)*\))*\)/, with: "\u{0}")
        .split(separator: "\u{0}").map { plain(String($0)) }
    }.filter { $0.count >= 8 }
  }

  @Test("the article has the constant parts of every remedy")
  func remedies() throws {
    let article = Self.plain(
      try String(
        contentsOf: Self.root.appending(path: "Sources/sluice/sluice.docc/Troubleshooting.md"),
        encoding: .utf8)
    )
    let folder = Self.root.appending(path: "Sources/sluice/Messages")
    let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    #expect(files.count > 5)
    for file in files {
      let code = try String(contentsOf: file, encoding: .utf8)
        .split(separator: "\n").filter { !$0.contains("//") }.joined(separator: "\n")
      for constant in Self.constants(code) {
        let isDocumented = article.contains(constant)
        #expect(isDocumented, "\(file.lastPathComponent): '\(constant)'")
      }
    }
  }

  @Test("finds the constant parts of literals")
  func constants() {
    #expect(
      Self.constants(
        #"x: "type 'echo \(count) | sudo tee \(f(a, b))/nr_hugepages' "\#n + "or leave node=\(n) out""#)
        == ["type 'echo", "| sudo tee", "/nr_hugepages' or leave node="])
  }
}
