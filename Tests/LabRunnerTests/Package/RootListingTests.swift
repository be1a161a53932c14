// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct RootListingTests {
  private let before = RootListing(
    """
    ./etc\td 755 0:0 
    ./etc/passwd\tf 644 0:0 
    ./bin\tl 777 0:0 usr/bin
    ./var/lib/dpkg/status\tf 644 0:0 
    aa  ./etc/passwd
    """)

  @Test("an equal root has no change, and dpkg's status does not count")
  func equal() {
    let after = RootListing(
      "./bin\tl 777 0:0 usr/bin\n./etc\td 755 0:0 \n./etc/passwd\tf 644 0:0 \naa  ./etc/passwd\n")
    #expect(before.changes(in: after).isEmpty)
    #expect(after.has("etc/passwd") && !after.has("etc/group"))
  }

  @Test("finds files that were added, removed or changed")
  func changes() {
    let after = RootListing(
      """
      ./etc\td 755 0:0 
      ./etc/passwd\tf 644 0:0 
      ./etc/sluice\td 755 0:0 
      ./var/lib/dpkg/info/sluice.list\tf 644 0:0 
      bb  ./etc/passwd
      """)
    #expect(
      before.changes(in: after) == ["-bin", "*etc/passwd", "+etc/sluice", "+var/lib/dpkg/info/sluice.list"])
  }
}
