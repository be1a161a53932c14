// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Linux

@Suite struct UserTests {
  private let directory: Temporary
  private let users: String
  private let groups: String

  init() throws {
    directory = try Temporary()
    users = try directory.file(
      "passwd", Array("root:x:0:0:root:/root:/bin/sh\nshort:x\nlab:x:1000:100:Lab,,:/home/lab:/bin/sh\n".utf8)
    )
    groups = try directory.file(
      "group", Array("kvm:x:106:lab,other\nusers:x:100:lab\nother:x:5:labor\nempty:x:7:\nbad\n".utf8))
  }

  @Test("a user has the first group and the groups that list the user")
  func found() throws {
    let user = try #require(try User("lab", users: users, groups: groups))
    #expect(user.id == 1000 && user.group == 100 && user.groups == [100, 106])
    #expect(try User("root", users: users, groups: groups)?.groups == [0])
  }

  @Test("a user that is not in the list is nil", arguments: ["la", "lab:x", "", "short", "LAB"])
  func missing(_ name: String) throws {
    #expect(try User(name, users: users, groups: groups) == nil)
  }

  @Test("a list that cannot be read is an error")
  func unreadable() {
    #expect(throws: KernelError("open /nonexistent", errno: ENOENT)) {
      try User("lab", users: "/nonexistent", groups: groups)
    }
  }

  @Test(
    "a process becomes a process of the user, can return to root, and cannot after an exec",
    .enabled(if: geteuid() == 0, "only root can change its user"))
  func become() async {
    await #expect(processExitsWith: .exitCode(7)) {
      guard let user = try User("nobody") else { _exit(1) }
      try user.become()
      guard geteuid() == user.id, getuid() == user.id, getegid() == user.group, getgroups(0, nil) == 1 else {
        _exit(2)
      }
      let failure = NextProgram.execute(["/nonexistent/program"])
      guard failure == KernelError("execve", errno: ENOENT) else { _exit(3) }
      try User.restoreRoot()
      guard geteuid() == 0, getuid() == 0 else { _exit(4) }
      try user.become()
      // The shell sees all four IDs. The saved ID is the third.
      _ = NextProgram.execute([
        "sh", "-c",
        "set -- $(grep Uid: /proc/self/status); [ \"$2$3$4$5\" = \"$2$2$2$2\" ] && [ $2 != 0 ] &&"
          + "grep -q 'CapBnd:\t0*$' /proc/self/status && exit 7",
      ])
      _exit(5)
    }
  }
}
