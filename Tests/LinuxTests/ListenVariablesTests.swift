// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Linux

/// The variables of sd_listen_fds(3).
@Suite struct ListenVariablesTests {
  private func parse(_ process: String?, _ count: String?, _ names: String?) throws -> [String] {
    try ListenVariables.parse(process: process, count: count, names: names, own: 7).map {
      "\($0.name)=\($0.number)"
    }
  }

  @Test("descriptors have their names in order, from 3 on")
  func descriptors() throws {
    #expect(try parse("7", "2", "kvm:group.12") == ["kvm=3", "group.12=4"])
    #expect(try parse("7", "1", "") == ["=3"])
    #expect(try parse("7", "0", nil).isEmpty)
  }

  @Test("variables for another process are ignored", arguments: ["8", "", "x", nil])
  func others(_ process: String?) throws {
    #expect(try parse(process, "2", "kvm").isEmpty)
  }

  @Test("an invalid count is refused", arguments: ["", "-1", "x", "129", "4294967297", nil])
  func count(_ count: String?) {
    #expect(throws: ListenVariables.Invalid(variable: "LISTEN_FDS", cause: "not a number from 0 to 128")) {
      try parse("7", count, "kvm")
    }
  }

  @Test("each descriptor needs a name")
  func names() {
    #expect(throws: ListenVariables.Invalid(variable: "LISTEN_FDNAMES", cause: "1 names for 2 descriptors")) {
      try parse("7", "2", "kvm")
    }
    #expect(throws: ListenVariables.Invalid(variable: "LISTEN_FDNAMES", cause: "0 names for 2 descriptors")) {
      try parse("7", "2", nil)
    }
  }

  @Test("the variables are removed when they are taken, and an exec inherits new ones")
  func environment() async {
    await #expect(processExitsWith: .exitCode(7)) {
      try ListenVariables.set(["kvm", "devices"])
      let taken = try ListenVariables.take()
      guard taken.map(\.name) == ["kvm", "devices"], taken.map(\.number) == [3, 4] else { endProcess(1) }
      endProcess(try ListenVariables.take().isEmpty ? 7 : 2)
    }
  }
}
