// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct KernelTraceTests {
  /// A trace with 450 µs outside of system calls.
  ///
  /// The first thread has 300 µs before a wait and 50 µs after it. In the 300 µs, its time without a
  /// processor, 50 µs, is not included. The second thread has 100 µs.
  private static let text = """
    # tracer: nop
               <...>-7       [000] .....    10.000000: sys_enter: NR 56 (11, 0, 0, 0, 0, 0)
               <...>-9       [001] .....    10.000100: sys_enter: NR 59 (7f, 7f, 7f, 0, 0, 0)
              sluice-9       [001] .....    10.001000: sys_exit: NR 59 = 0
              sluice-9       [001] d....    10.001200: sched_switch: prev_comm=sluice prev_pid=9 prev_prio=120 \
    prev_state=R ==> next_comm=sh next_pid=8 next_prio=120
                  sh-8       [001] d....    10.001250: sched_switch: prev_comm=sh prev_pid=8 prev_prio=120 \
    prev_state=S ==> next_comm=sluice next_pid=9 next_prio=120
              sluice-9       [001] .....    10.001350: sys_enter: NR 16 (4, ae01, 0, 0, 0, 0)
              sluice-9       [001] .....    10.002000: sys_exit: NR 16 = 5
              sluice-9       [001] .....    10.002050: sys_enter: NR 7 (7f, 1, ffffffff, 0, 0, 0)
               vcpu0-10      [000] .....    10.002900: sys_exit: NR 435 = 0
               vcpu0-10      [000] .....    10.003000: sys_enter: NR 16 (9, ae80, 0, 0, 0, 0)
               vcpu0-10      [000] .....    10.009000: sys_exit: NR 16 = 0
    """

  @Test("counts only time outside of system calls, before the first KVM_RUN")
  func ownTime() throws {
    let times = try #require(KernelTrace.times(Self.text, starter: "7"))
    #expect(times.own.rounded() == 450 && times.all.rounded() == 2000)
  }

  @Test("a program without KVM_RUN has no time")
  func none() {
    let text = Self.text.split(separator: "\n").prefix(7).joined(separator: "\n")
    #expect(KernelTrace.times(text, starter: "7") == nil)
  }
}
