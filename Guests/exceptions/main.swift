// SPDX-License-Identifier: Apache-2.0

// Reads the local APIC right after exceptions that KVM does not intercept. A processor that leaves the type of
// a delivered exception in its exit information makes KVM end the VM at such a read (KVM_EXIT_INTERNAL_ERROR,
// suberror 3). Run by the lab case `exceptions`.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let rounds: UInt64 = 1000
  execution_initialize()
  execution_clear()
  // div %rcx
  execution_append(0x48)
  execution_append(0xF7)
  execution_append(0xF1)
  var raised: UInt64 = 0
  var right: UInt64 = 0
  let version = LocalAPIC.version
  for _ in 0..<rounds {
    // Exception 0: division by zero.
    if execution_run(0, 1, 0, 0, 0, 0) == 0 { raised += 1 }
    if LocalAPIC.version == version { right += 1 }
  }
  report.check(raised == rounds, "\(raised) of \(rounds) divisions by zero raise exception 0")
  report.check(right == rounds, "\(right) of \(rounds) reads of the local APIC after a division by zero")
}
