// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing

@testable import VMM

@Suite struct GuestSlotTests {
  private static func guestSlots(_ addresses: String...) -> [String] {
    let devices = addresses.compactMap { text -> Configuration.AssignedDevice? in
      let hasPort = text.hasSuffix("+")
      return Address(hasPort ? String(text.dropLast()) : text).map { .init(address: $0, hasPort: hasPort) }
    }
    let slots = GuestSlot.all(devices)
    return slots.map { slot in
      let port = slot.port.map { " port \($0)" } ?? ""
      return "\(slot.slot).\(slot.function)\(slot.isShared ? " shared" : "")\(port)"
    }
      + GuestSlot.ports(slots, empty: 2).map { "port at \($0)" }.suffix(
        devices.contains(where: \.hasPort) ? .max : 0)
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

  @Test("a device behind a port has a separate PCI slot, and empty ports follow all devices")
  func ports() {
    #expect(
      Self.guestSlots("01:00.0", "01:00.1+", "02:00.0+", "01:00.2") == [
        "1.0 shared", "2.0 port 0", "3.0 port 1", "1.2 shared", "port at 2", "port at 3", "port at 4",
        "port at 5",
      ])
  }
}
