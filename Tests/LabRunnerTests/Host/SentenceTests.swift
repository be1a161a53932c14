// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct SentenceTests {
  @Test("an error of Foundation becomes one sentence")
  func foundation() {
    func message(_ body: () throws -> Void) -> String {
      do { try body() } catch { return sentence(error) }
      return ""
    }
    let absent = "/nonexistent/file"
    for text in [
      message { _ = try String(contentsOfFile: absent, encoding: .utf8) },
      message { try Data().write(to: URL(filePath: absent)) },
      message { _ = try FileHandle(forWritingTo: URL(filePath: absent)) },
      message { try FileManager.default.copyItem(atPath: absent, toPath: "/tmp/x") },
    ] {
      #expect(!text.isEmpty && !text.contains("Domain=") && !text.contains("\n"), "\(text)")
    }
    #expect(message { throw Failed("a fault") } == "a fault")
    #expect(message { throw LabError("no kernel") } == "no kernel")
  }
}
