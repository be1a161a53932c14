// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing

@testable import VMM

/// The text of the descriptor `devices`.
@Suite struct PassedDeviceTests {
  private static let first =
    #"{"address":"0000:01:00.0","group":"12","reset":"flr bus","express":1,"reserved":"0xfee00000-0xfeefffff","cdev":"vfio0","iommu":"dmar0"}"#

  private static func all(_ text: String) throws(DescriptorProblem) -> [PassedDevice] {
    try PassedDevice.all(in: Array(text.utf8))
  }

  @Test("a line has the facts about a device, and parsing it returns them")
  func line() throws {
    let device = try #require(try Self.all(Self.first + "\n").first)
    #expect(
      device.address == Address("01:00.0") && device.group == "12" && device.resetMethods == ["flr", "bus"])
    #expect(device.cdev == "vfio0" && device.iommu == "dmar0" && device.isExpress)
    #expect(device.reserved == [0xFEE0_0000...0xFEEF_FFFF])
    #expect(device.line == Self.first)
    let second = try Self.all(#"{"address":"0000:02:00.0","group":"3","express":0}"#)
    #expect(second[0].reserved.isEmpty && second[0].cdev == nil && !second[0].isExpress)
    #expect(try Self.all(second[0].line) == second)
    #expect(try Self.all("").isEmpty)
  }

  @Test("an invalid line is refused, and the error has its number and no text of it")
  func invalid() {
    let lines: [(String, String)] = [
      ("{", "not a JSON object of strings and numbers"),
      (#"{"group":"1"}"#, "'address' is not a PCI address such as 0000:01:00.0"),
      (#"{"address":"01:00.0","group":"1"}"#, "'address' is not a PCI address such as 0000:01:00.0"),
      (#"{"address":"0000:02:00.0","group":"../1"}"#, "'group' is not the number of an IOMMU group"),
      (#"{"address":"0000:02:00.0","group":"12345678901"}"#, "'group' is not the number of an IOMMU group"),
      (#"{"address":"0000:02:00.0","group":1}"#, "'group' is not the number of an IOMMU group"),
      (#"{"address":"0000:02:00.0","group":"1","path":"/"}"#, "an unknown field"),
      (#"{"address":"0000:02:00.0","group":"1","cdev":"../x"}"#, "'cdev' is not a name such as vfio0"),
      (#"{"address":"0000:02:00.0","group":"1","reset":"a/b"}"#, "'reset' is not a list of names"),
      (#"{"address":"0000:02:00.0","group":"1","iommu":""}"#, "'iommu' is not a name"),
      (#"{"address":"0000:02:00.0","group":"1","express":2}"#, "'express' is neither 0 nor 1"),
      (
        #"{"address":"0000:02:00.0","group":"1","reserved":"0x2-0x1"}"#,
        "'reserved' is not a list of ranges such as 0xfee00000-0xfeefffff"
      ),
      (
        #"{"address":"0000:02:00.0","group":"1","reserved":"\#(String(repeating: "0x1-0x2 ", count: 65))"}"#,
        "'reserved' has more than 64 ranges"
      ),
      (#"{"address":"0000:02:00.0","group":"1","reset":"é"}"#, "a character outside printable ASCII"),
      (String(repeating: "{", count: 4097), "longer than 4096 bytes"),
      (Self.first, "0000:01:00.0 is named twice"),
    ]
    for (line, cause) in lines {
      #expect(throws: DescriptorProblem.facts(line: 2, cause: cause), "\(line.prefix(100))") {
        try Self.all(Self.first + "\n" + line)
      }
    }
  }
}
