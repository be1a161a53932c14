// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The articles name types and members of the sources.
@Suite struct PathsTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The names `Type.member` of a text.
  private static func names(_ text: String) -> [(type: String, member: String)] {
    text.matches(of: /`([A-Z]\w+)\.(\w+)`/).map { (String($0.1), String($0.2)) }
  }

  /// The bodies of a type and of its extensions, with its files' other types.
  private static func declarations(of type: String, in sources: [String]) -> [String] {
    let kinds = ["class", "struct", "enum", "protocol", "extension"]
    let ends = [" ", ":", "<", "\n", "{"]
    let heads = kinds.flatMap { kind in ends.map { "\(kind) \(type)\($0)" } }
    return sources.filter { source in heads.contains { source.contains($0) } }
  }

  private static func isDeclared(_ member: String, in sources: [String]) -> Bool {
    sources.contains {
      $0.contains("func \(member)(") || $0.contains("func \(member)<") || $0.contains("var \(member):")
    }
  }

  private static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  private static func sources() throws -> [String] { try swiftFiles("Sources") }

  private static func swiftFiles(_ folder: String) throws -> [String] {
    let directory = root.appending(path: folder)
    let files = try #require(FileManager.default.enumerator(at: directory, includingPropertiesForKeys: nil))
    return try files.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }
      .map { try String(contentsOf: $0, encoding: .utf8) }
  }

  @Test("every name of the four paths is in the sources")
  func paths() throws {
    let names = Self.names(try Self.text("Sources/VMM/VMM.docc/Paths.md"))
    #expect(names.count > 40)
    let sources = try Self.sources()
    for (type, member) in names {
      let declarations = Self.declarations(of: type, in: sources)
      let isDeclared = (type: !declarations.isEmpty, member: Self.isDeclared(member, in: declarations))
      #expect(isDeclared.type, "there is no \(type)")
      #expect(isDeclared.member, "\(type) has no \(member)")
    }
  }

  @Test("every test that the threat model names exists")
  func threatModel() throws {
    let rows = try Self.text("Sources/VMM/VMM.docc/ThreatModel.md").split(separator: "\n")
      .filter { $0.hasPrefix("| ") && !$0.hasPrefix("| claim") && !$0.hasPrefix("| ---") }
    #expect(rows.count > 20)
    let tests = try Self.swiftFiles("Tests")
    for row in rows {
      let names = row.split(separator: "|").last?.matches(of: /`([\w.-]+)`/).map { String($0.1) } ?? []
      #expect(!names.isEmpty, "no test: \(row)")
      for name in names {
        let exists = tests.contains { text in
          text.contains("struct \(name) ") || text.contains("struct \(name):") || text.contains("\"\(name)\"")
        }
        #expect(exists, "there is no test \(name)")
      }
    }
  }

  @Test("a name that is not in the sources is found")
  func check() throws {
    let sources = ["struct Gate {\n  mutating func begin(_ event: Event) {}\n}"]
    #expect(Self.names("`Gate.begin` and `Gate.end`, `word`").map(\.member) == ["begin", "end"])
    #expect(Self.isDeclared("begin", in: Self.declarations(of: "Gate", in: sources)))
    #expect(!Self.isDeclared("end", in: Self.declarations(of: "Gate", in: sources)))
    #expect(Self.declarations(of: "Gat", in: sources).isEmpty)
  }

  @Test("the table of modules has a row for each target of the package")
  func tree() throws {
    let article = try Self.text("Sources/sluice/sluice.docc/sluice.md")
    let targets = try FileManager.default.contentsOfDirectory(
      atPath: Self.root.appending(path: "Sources").path
    )
    .filter { !["CSeccomp", "Release"].contains($0) }
    for target in targets {
      #expect(article.contains(try Regex("(?m)^\\| .*`\(target)`.* \\|")), "\(target) has no row")
    }
  }
}
