// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing

@testable import VMM

@Suite struct GuestSlotTests {
  private static func guestSlots(_ addresses: String...) -> [String] {
    GuestSlot.all(addresses.compactMap { Address($0) }).map { slot in
      "\(slot.slot).\(slot.function)\(slot.isShared ? " shared" : "")"
    }
  }

  @Test("devices have separate PCI slots in the given order")
  func single() {
    #expect(Self.guestSlots("02:00.0", "01:00.0", "00:05.0") == ["1.0", "2.0", "3.0"])
    #expect(Self.guestSlots("01:00.3") == ["1.0"], "a guest looks for function 0 first")
  }

  @Test("functions of a device share a PCI slot if function 0 is among them")
  func shared() {
    #expect(
      Self.guestSlots("01:00.0", "00:03.0", "01:00.2", "00:04.0") == [
        "1.0 shared", "2.0", "1.2 shared", "3.0",
      ])
    #expect(Self.guestSlots("01:00.2", "01:00.0") == ["1.2 shared", "1.0 shared"])
    #expect(Self.guestSlots("01:00.1", "01:00.2") == ["1.0", "2.0"])
    #expect(Self.guestSlots("01:00.0", "0001:01:00.1") == ["1.0", "2.0"], "another domain")
  }
}
