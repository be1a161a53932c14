// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct SystemCallsTests {
  @Test("counts only calls after the filter is loaded")
  func afterFilter() {
    let calls = SystemCalls(
      thread: """
        openat(0xffffff9c, "/dev/kvm", 0x2) = 3
        prctl(0xf, "vcpu0") = 0
        seccomp(0x1, 0, {len=12, filter=0x7f}) = 0
        ioctl(12, 0xae80, 0)      = 0
        --- SIGUSR1 {si_signo=SIGUSR1} ---
        pread64(20, "\\0", 8, 0)                = 8
        +++ exited with 0 +++
        """)
    #expect(calls.made == ["vcpu": ["ioctl 0xae80", "pread64"]])
  }

  @Test("ignores a thread without a filter")
  func noFilter() {
    #expect(SystemCalls(thread: "read(0, 0x7f, 1) = 1\n").made.isEmpty)
  }

  @Test("the first thread is the control thread, and calls of threads of one kind are merged")
  func merge() {
    let filter = "seccomp(0x1, 0, 0x7f) = 0\n"
    var calls = SystemCalls(thread: filter + "read(0, 0x7f, 1) = 1\n")
    calls.merge(SystemCalls(thread: filter + "write(1, 0x7f, 1) = 1\nioctl(3, 0x5401, 0) = 0\n"))
    #expect(calls.made == ["control": ["read", "write", "ioctl 0x5401"]])
  }
}
