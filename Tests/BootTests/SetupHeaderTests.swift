// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Boot

@Suite("Setup header")
struct SetupHeaderTests {
  static func header(_ kernel: FakeLinux) throws -> SetupHeader {
    try SetupHeader(Array(kernel.bytes.prefix(SetupHeader.maximumEnd)), path: "/k")
  }

  @Test("fields are read at the offsets that the protocol defines")
  func fields() throws {
    let header = try Self.header(FakeLinux())
    #expect(header.version == 0x020F)
    #expect(header.setupSectors == 3 && header.payloadOffset == 2048)
    #expect(header.payloadSize == 0x1000)
    #expect(header.kernelAlignment == 0x20_0000 && header.isRelocatable)
    #expect(header.commandLineLimit == 2047)
    #expect(header.initrdLimit == 0x7FFF_FFFF)
    #expect(header.preferredAddress == 0x100_0000 && header.initSize == 0x80_0000)
    #expect(header.has64BitEntry && header.canBeAbove4GiB)
  }

  @Test("the copy for boot_params ends at the header's end, within its field", arguments: [0, 0x66, 0xFF])
  func copy(jump: Int) throws {
    var file = FakeLinux().bytes
    file[0x201] = UInt8(jump)
    let header = try SetupHeader(Array(file.prefix(SetupHeader.maximumEnd)), path: "/k")
    let end = SetupHeader.start + header.bytes.count
    #expect(end >= SetupHeader.minimumEnd && end <= SetupHeader.maximumEnd)
    #expect(jump != 0x66 || end == 0x268)
  }

  @Test(
    "a kernel loads at its preferred address, or at the next aligned address",
    arguments: [
      (0x100_0000, 0x20_0000, 1, 0x100_0000), (0x100_0000, 0x20_0000, 0, 0x100_0000),
      (0x100_1000, 0x20_0000, 1, 0x120_0000), (0x1000, 0x20_0000, 1, 0x20_0000),
      (0, 0x1000, 1, 0x10_0000), (0x200_0000, 0, 1, 0x200_0000), (.max, 0x20_0000, 1, .max),
    ] as [(UInt64, UInt32, UInt8, UInt64)])
  func loadAddress(preferred: UInt64, alignment: UInt32, relocatable: UInt8, expected: UInt64) throws {
    var kernel = FakeLinux()
    kernel.preferredAddress = preferred
    kernel.alignment = alignment
    kernel.relocatable = relocatable
    #expect(try Self.header(kernel).loadAddress(path: "/k") == expected)
  }
}
