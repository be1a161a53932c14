// SPDX-License-Identifier: Apache-2.0

import Testing
import VFIO

@testable import Passthrough

@Suite struct ResetMethodTests {
  private static let bus = [
    Device.Dependent(group: "7", address: "0000:03:00.0"), .init(group: "7", address: "0000:03:00.1"),
    .init(group: "9", address: "0000:03:01.0"),
  ]

  @Test("a bus can be reset when all of its groups are the VM's")
  func ours() {
    #expect(ResetMethod.obstacle(Self.bus, groups: ["9", "7", "3"]) == nil)
    #expect(ResetMethod.obstacle([], groups: []) == nil)
  }

  @Test("what is not the VM's is named, with what to do")
  func foreign() throws {
    let one = try #require(ResetMethod.obstacle(Self.bus, groups: ["7"]))
    #expect(one.contains("would also reset 0000:03:01.0 (group 9): give the VM that device too"))
    let two = try #require(ResetMethod.obstacle(Self.bus, groups: ["9"]))
    #expect(two.contains("0000:03:00.0 (group 7), 0000:03:00.1 (group 7): give the VM those devices too"))
  }

  @Test("while the VM runs nothing is reset that reaches another of its devices")
  func running() {
    #expect(ResetMethod.function.isForGuest)
    #expect(ResetMethod.bus([], isAlone: true).isForGuest)
    #expect(!ResetMethod.bus([], isAlone: false).isForGuest)
    #expect(!ResetMethod.none("").isForGuest)
  }
}
