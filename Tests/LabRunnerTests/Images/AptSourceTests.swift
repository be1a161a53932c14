// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct AptSourceTests {
  @Test(
    "finds the entry of the suite in either format",
    arguments: [
      "deb http://example.org/debian bookworm main contrib\n",
      "# a comment\ndeb-src http://example.net/debian bookworm main\ndeb http://example.org/debian bookworm main\n",
      "deb http://example.net/debian bookworm-updates main\ndeb\thttp://example.org/debian bookworm main\n",
      """
      Types: deb deb-src
      URIs: http://example.org/debian
      Suites: bookworm bookworm-updates
      Components: main
      """,
      """
      # a comment
      Types: deb
      # another
      URIs: http://example.net/debian-security
      Suites: bookworm-security

      Types: deb
      URIs: http://example.org/debian
      Suites:
       bookworm
       bookworm-updates
      """,
      """
      Enabled: no
      Types: deb
      URIs: http://example.net/debian
      Suites: bookworm

      Types: deb
      URIs: http://example.org/debian
      Suites: bookworm
      """,
    ])
  func address(text: String) {
    #expect(AptSource.find(suite: "bookworm", in: text)?.address == "http://example.org/debian")
  }

  @Test("keeps the key in the new entry")
  func key() {
    let stanza = """
      Types: deb
      URIs: http://example.org/debian
      Suites: bookworm
      Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
      """
    let line = "deb [arch=amd64 signed-by=/k.gpg] http://example.org/debian bookworm main"
    #expect(
      AptSource.find(suite: "bookworm", in: stanza)?.line(suite: "bookworm-backports")
        == "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://example.org/debian "
        + "bookworm-backports main\n")
    #expect(AptSource.find(suite: "bookworm", in: line)?.signedBy == "/k.gpg")
    #expect(AptSource(address: "a", signedBy: nil).line(suite: "s") == "deb a s main\n")
  }

  @Test("drops a key that the stanza itself contains")
  func inlineKey() {
    let stanza = """
      Types: deb
      URIs: http://example.org/debian
      Suites: bookworm
      Signed-By:
       -----BEGIN PGP PUBLIC KEY BLOCK-----
      """
    #expect(AptSource.find(suite: "bookworm", in: stanza) == AptSource(address: "http://example.org/debian"))
  }

  @Test("ignores the entry of another suite")
  func other() {
    #expect(AptSource.find(suite: "bookworm", in: "deb http://example.org/debian trixie main\n") == nil)
  }
}
