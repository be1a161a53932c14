// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct AddressTests {
  @Test(
    "an address is parsed and printed in the format of sysfs",
    arguments: [
      ("0000:01:00.0", "0000:01:00.0"), ("01:00.0", "0000:01:00.0"), ("ff:1f.7", "0000:ff:1f.7"),
      ("0000:AB:0c.3", "0000:ab:0c.3"), ("10000:e1:00.0", "10000:e1:00.0"), ("0:0.0", "0000:00:00.0"),
      ("ffffffff:00:00.1", "ffffffff:00:00.1"),
    ])
  func good(_ text: String, _ expected: String) throws {
    let address = try #require(Address(text))
    #expect(address.description == expected)
    #expect(Address(address.description) == address)
  }

  @Test("an address has domain, bus, device and function")
  func parts() throws {
    let address = try #require(Address("0002:a0:1e.5"))
    #expect(address.domain == 2 && address.bus == 0xA0 && address.device == 0x1E && address.function == 5)
  }

  @Test(
    "an invalid address is rejected",
    arguments: [
      "", ":", "01:00", "01.0", "01:00.8", "01:20.0", "100:00.0", "0000:01:00.0 ", " 01:00.0", "01:00.0.0",
      "000:01:00.0", "123456789:01:00.0", "0000:0000:01:00.0", "-1:00.0", "+1:00.0", "01:+0.0", "01:00.-0",
      "0x1:00.0", "01:00.０", "gg:00.0", "0000:01:00.0/../..", "01:00.0\n", "01::00.0", "0000::00.0",
    ])
  func hostile(_ text: String) {
    #expect(Address(text) == nil)
  }
}
