// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct AptFieldsTests {
  @Test("reads the fields of the first paragraph, and ignores continuation lines")
  func fields() {
    let fields = AptFields(
      """
      Package: linux-image-amd64
      Version: 7.3.4-1
      Depends: linux-base-amd64 (= 7.3.4-1), linux-image-7.3.4-amd64 (= 7.3.4-1), a | b
      Description: Linux for 64-bit PCs (meta package)
       Version: not a field

      Package: linux-image-amd64
      Version: 7.3.3-1
      """)
    #expect(fields["Package"] == "linux-image-amd64")
    #expect(fields["Version"] == "7.3.4-1")
    #expect(fields["Size"] == nil)
    #expect(fields.dependencies == ["linux-base-amd64", "linux-image-7.3.4-amd64"])
    #expect(AptFields("").dependencies.isEmpty)
  }

  @Test("an old image has the kernel, and a new image depends on its packages")
  func layout() {
    #expect(
      AptFields.packages(ofImage: "linux-image-6.12.95-amd64", dependencies: ["kmod", "linux-base"])
        == ["linux-image-6.12.95-amd64"])
    #expect(
      AptFields.packages(
        ofImage: "linux-image-7.3.4-amd64",
        dependencies: ["linux-base-7.3.4-amd64", "linux-binary-7.3.4-amd64", "linux-modules-7.3.4-amd64"])
        == ["linux-binary-7.3.4-amd64", "linux-modules-7.3.4-amd64", "linux-base-7.3.4-amd64"])
  }

  @Test(
    "a suite names its release",
    arguments: [
      ("trixie-backports", "trixie", ["trixie", "trixie-backports"]), ("bookworm", "bookworm", ["bookworm"]),
    ])
  func suites(name: String, release: String, both: [String]) {
    #expect(DebianSuite(name).release == DebianSuite(release))
    #expect(DebianSuite(name).withRelease.map(\.name) == both)
  }

  @Test("names apt's first error")
  func cause() {
    let text = "W: a warning\nE: Failed to fetch a.deb  Unable to connect\nE: Unable to fetch\n"
    #expect(AptGet.cause(in: text) == "Failed to fetch a.deb  Unable to connect")
    #expect(AptGet.cause(in: "W: a warning\n") == nil)
  }

  @Test("reads the code name of this machine's release")
  func codename() {
    #expect(DebianSuite.codename(inRelease: "ID=debian\nVERSION_CODENAME=trixie\n") == "trixie")
    #expect(DebianSuite.codename(inRelease: "VERSION_CODENAME=\"bookworm\"\n") == "bookworm")
    #expect(DebianSuite.codename(inRelease: "ID=debian\n") == nil)
  }
}
