// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The sources of the program and its libraries.
private enum Sources {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Sources")

  static let areHere = FileManager.default.fileExists(atPath: directory.path)
}

/// Libraries state facts. Only the program knows its own options and commands.
@Suite(.enabled(if: Sources.areHere, "the sources are not beside the tests"))
struct LayersTests {
  /// Returns a line without its comment.
  private static func code(_ line: Substring) -> Substring {
    if line.drop(while: \.isWhitespace).hasPrefix("//") { return "" }
    guard let comment = line.firstRange(of: " //") else { return line }
    return line[..<comment.lowerBound]
  }

  @Test("no string of a library names an option or a command of the program")
  func strings() throws {
    let files = try #require(
      FileManager.default.enumerator(at: Sources.directory, includingPropertiesForKeys: nil)
    )
    .compactMap { $0 as? URL }
    .filter { $0.pathExtension == "swift" && !$0.path.contains("/Sources/sluice/") }
    #expect(files.count > 100)
    for file in files {
      for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
        let code = Self.code(line)
        #expect(!code.contains(/--[A-Za-z]/) && !code.contains(/\bsluice [a-z]/), "\(file.path): \(line)")
      }
    }
  }

  @Test("the check finds an option and a command, and ignores comments")
  func check() {
    #expect(Self.code("    // give --memory") == "")
    #expect(Self.code("  let a = 1  // give --memory") == "  let a = 1 ")
    #expect(Self.code("  \"give --memory\"").contains(/--[A-Za-z]/))
    #expect(Self.code("  \"type 'sluice bind'\"").contains(/\bsluice [a-z]/))
  }
}
