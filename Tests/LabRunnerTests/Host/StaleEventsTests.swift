// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct StaleEventsTests {
  @Test("a type without the valid bit is stale")
  func lines() {
    let trace = """
      # tracer: nop
      vcpu0-1 [000] d..1. 1.0: kvm_exit: vcpu 0 reason npf rip 0x1 info1 0xc info2 0xfee00020 intr_info 0x00000300 error_code 0x0
      vcpu0-1 [000] d..1. 1.1: kvm_exit: vcpu 0 reason npf rip 0x1 info1 0xc info2 0xfee00020 intr_info 0x80000b0e error_code 0x0
      vcpu0-1 [000] d..1. 1.2: kvm_exit: vcpu 0 reason interrupt rip 0x1 info1 0x0 info2 0x0 intr_info 0x00000000 error_code 0x0
      """
    #expect(KernelCases.staleEvents(trace).count == 1)
    #expect(KernelCases.staleEvents("").isEmpty)
  }
}
