// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing

@Suite struct PCIIDsTests {
  private static let text = """
    # A comment
    10ec  Realtek Semiconductor Co., Ltd.
    \t8139  RTL-8100/8101L/8139
    \t\t10ec 8139  A subsystem
    \t8168  RTL8111
    8086  Intel Corporation
    \t8139  Another vendor's device of the same number
    # C class
    C 02  Network controller
    \t00  Ethernet controller
    C 8086  No vendor
    \t8168  No device

    """

  private func name(_ vendor: UInt16, _ device: UInt16) -> String? {
    PCIIDs.names(of: [(0x10EC, 0x8168), (vendor, device)], in: Array(Self.text.utf8))[
      PCIIDs.key(vendor, device)]
  }

  @Test("a device has its vendor's name and the device name from the vendor's section")
  func both() {
    #expect(name(0x10EC, 0x8139) == "Realtek Semiconductor Co., Ltd. RTL-8100/8101L/8139")
    #expect(name(0x10EC, 0x8168) == "Realtek Semiconductor Co., Ltd. RTL8111")
    #expect(name(0x8086, 0x8139) == "Intel Corporation Another vendor's device of the same number")
  }

  @Test("an unknown device has its vendor's name; an unknown vendor has no name")
  func absent() {
    #expect(name(0x8086, 0x8168) == "Intel Corporation")
    #expect(name(0x10EC, 0x10EC) == "Realtek Semiconductor Co., Ltd.", "a subsystem is not a device")
    #expect(name(0x1234, 0x8139) == nil)
  }

  @Test(
    "malformed files have no names",
    arguments: ["", "\n", "10ec", "10ec  ", "\t8139  x", "zzzz  y\n\t0000  z"])
  func odd(_ text: String) {
    #expect(PCIIDs.names(of: [(0x10EC, 0x8139)], in: Array(text.utf8)).isEmpty)
    #expect(PCIIDs.names(of: [(0x10EC, 0x8139)], in: [0xFF, 0x31, 0, 0x0A] + Array(text.utf8)).isEmpty)
  }
}
