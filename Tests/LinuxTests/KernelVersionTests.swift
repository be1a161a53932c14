// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@Suite struct KernelVersionTests {
  @Test(
    "parses the first two numbers of a release",
    arguments: [
      ("6.12.95+deb12-amd64", KernelVersion(6, 12)), ("7.3-rc1", KernelVersion(7, 3)), ("10.0", .init(10, 0)),
      ("7", nil), ("", nil), ("next-6.1", nil),
    ])
  func parse(_ release: String, _ version: KernelVersion?) {
    #expect(KernelVersion(release: release) == version)
  }

  @Test("orders versions by number")
  func order() {
    #expect(KernelVersion(6, 9) < KernelVersion(6, 19) && KernelVersion(6, 19) < KernelVersion(7, 0))
    #expect("\(KernelVersion(6, 19))" == "Linux 6.19")
  }

  @Test("reads the version of this host")
  func current() throws {
    let version = try KernelVersion.current
    #expect(version != nil)
  }
}
