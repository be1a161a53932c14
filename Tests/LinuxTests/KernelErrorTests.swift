// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@Suite struct KernelErrorTests {
  @Test("an error has the operation and the reason")
  func description() {
    let error = KernelError("open /dev/kvm", errno: KernelError.noEntry)
    #expect(error.description == "open /dev/kvm: No such file or directory")
    #expect("\(KernelError("KVM_RUN", errno: KernelError.fault))" == "KVM_RUN: Bad address")
    #expect(KernelError.reason(9999).contains("9999"))
  }

  @Test("only EACCES and EPERM are permission errors")
  func permission() {
    #expect(KernelError("asked", errno: KernelError.accessDenied).isPermission)
    #expect(KernelError("asked", errno: KernelError.notPermitted).isPermission)
    #expect(!KernelError("asked", errno: KernelError.noEntry).isPermission)
  }

  @Test("a negative result is an error number, and any other result is returned")
  func check() throws {
    #expect(try Linux.check(7, "asked") == 7)
    #expect(try Linux.check(Int64(1) << 40, "asked") == 1 << 40)
    #expect(throws: KernelError("asked", errno: 22)) { try Linux.check(-22, "asked") }
    #expect(throws: KernelError("asked", errno: 5)) { try Linux.check(Int64(-5), "asked") }
  }

  @Test("a failure that the kernel did not number has a cause and no error number")
  func causes() throws {
    for (result, cause, text) in [
      (-5000, .shortTransfer, "asked: the kernel transferred fewer bytes than requested"),
      (-5001, .wrongFile, "asked: unsupported kind of file"),
      (-5002, .limit, "asked: above a limit of Sluice"),
      (-5003, .refused, "asked: rejected without an error number"),
      (-5004, .noMemory, "asked: the memory is disabled (SIGBUS)"),
    ] as [(Int64, KernelError.Cause, String)] {
      let error = #expect(throws: KernelError("asked", cause)) { try Linux.check(result, "asked") }
      #expect(error?.errno == nil && error?.description == text)
    }
    #expect(KernelError("asked", errno: 4095).errno == 4095)
  }

  @Test("the operation's text is evaluated only on failure")
  func lazy() throws {
    var asked = 0
    func operation() -> String {
      asked += 1
      return "asked"
    }
    try Linux.check(0, operation())
    #expect(asked == 0)
    #expect(throws: KernelError.self) { try Linux.check(-1, operation()) }
    #expect(asked == 1)
  }
}
