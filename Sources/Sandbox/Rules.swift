// SPDX-License-Identifier: Apache-2.0

internal import CLinux

extension Rule {
  private static let everyone = Set(ThreadKind.allCases)

  /// Every rule there is.
  public static let all: [Rule] = requests + device + console + runtime

  /// Calls for the guest's CPUs and devices.
  private static let device: [Rule] = [
    Rule("pread64", [.vcpu], "trapped reads of a device's registers and configuration space"),
    Rule("pwrite64", [.vcpu, .control], "trapped writes of them; memory and bus mastering off at the end"),
    Rule("pwrite64", [.device], "memory and bus mastering off after the reset at the start"),
    Rule(
      "eventfd2", [.vcpu], "the eventfd of a vector that is used for the first time",
      .arguments([
        [
          Argument(0, .number(0), "count 0"),
          Argument(1, .number(UInt64(CL_EVENT_FLAGS)), "EFD_CLOEXEC|EFD_NONBLOCK"),
        ]
      ])),
    Rule("poll", [.vcpu, .pin], "wait for pinned RAM or the start; pending bits of masked vectors"),
    Rule("poll", [.device], "wait for the end of the VM"),
    Rule("poll", [.trace], "wait for records"),
    Rule(
      "poll", [.control], "wait for the last records of the trace; for the console's reader at the end",
      isContingent: true),
    Rule("read", [.vcpu, .control], "counts of eventfds; signals and the console's input"),
    Rule("read", [.trace], "counts of eventfds"),
    Rule("read", [.pin, .device], "counts of eventfds, if the trace's file is slow", isContingent: true),
    Rule("write", everyone, "the console's output, eventfds, the trace and messages"),
    Rule("epoll_wait", [.control], "wait for signals, input and the end"),
    Rule(
      "tgkill", [.vcpu, .control], "kick vCPUs out of KVM_RUN: to open a window, and at the end",
      .arguments([[ownProcess, kick], [ownProcess, abort]])),
    Rule(
      "tgkill", [.pin, .device, .trace], "part of abort", .arguments([[ownProcess, abort]]),
      isContingent: true),
  ]

  /// Calls for the console of the serial port.
  public static let console: [Rule] = [
    Rule("epoll_ctl", [.control], "leave input alone while the guest's serial port is full"),
    Rule("getpgrp", [.control], "see if the terminal is another process group's"),
  ]

  private static let ownProcess = Argument(0, .ownProcess, "tgid = own process")
  private static let kick = Argument(2, .number(UInt64(SIGURG)), "SIGURG")
  private static let abort = Argument(2, .number(UInt64(SIGABRT)), "SIGABRT")

  /// Calls of the C library and the Swift runtime.
  private static let runtime: [Rule] = [
    Rule("futex", [.vcpu, .control], "locks, and the end of threads", locks),
    Rule("futex", [.pin, .device, .trace], "locks", locks, isContingent: true),
    Rule("getpid", everyone, "part of abort", isContingent: true),
    Rule("gettid", everyone, "Swift's Mutex, which is a priority-inheriting futex"),
    Rule(
      "mmap", everyone, "malloc, for large blocks",
      .arguments([
        [
          Argument(2, mask: UInt64(PROT_EXEC), .number(0), "prot without PROT_EXEC"),
          Argument(
            3, mask: 0xFFFF_FFFF & ~(UInt64(MAP_NORESERVE) | hugeTable),
            .number(UInt64(MAP_PRIVATE | MAP_ANONYMOUS)),
            "MAP_PRIVATE|MAP_ANONYMOUS, with or without MAP_NORESERVE and MAP_HUGETLB"),
        ]
      ]), isContingent: true),
    Rule("munmap", [.control], "the machine's mappings at the end"),
    Rule("munmap", [.device], "a device's mappings when it is handed back"),
    Rule("munmap", [.vcpu, .pin, .trace], "malloc, for large blocks", isContingent: true),
    Rule(
      "mprotect", everyone, "malloc, when memory that is not from brk grows",
      .arguments([[Argument(2, .number(UInt64(PROT_READ | PROT_WRITE)), "PROT_READ|PROT_WRITE")]]),
      isContingent: true),
    Rule(
      "madvise", [.vcpu, .device, .trace], "a thread's stack when it ends",
      .arguments([[dontNeed], [hugePage]])),
    Rule(
      "madvise", [.pin],
      "populate guest RAM; give back the code that only the start has run; a thread's stack when it ends",
      .arguments([
        [dontNeed], [hugePage],
        [Argument(2, .number(UInt64(MADV_POPULATE_WRITE)), "MADV_POPULATE_WRITE")],
      ])),
    Rule("madvise", [.control], "give guest RAM back at the end", .arguments([[dontNeed], [hugePage]])),
    Rule(
      "writev", everyone, "the C library's message before it aborts",
      .arguments([[Argument(0, .number(2), "fd 2")]]), isContingent: true),
    Rule("brk", everyone, "malloc, when the heap grows or shrinks", isContingent: true),
    Rule(
      "clock_gettime", everyone, "times, where the vDSO cannot read the host's clock source",
      isContingent: true),
    Rule("close", [.control], "what is open of the machine at the end; a device that the host wants back"),
    Rule("close", [.device], "hand a device back"),
    Rule("rt_sigreturn", [.vcpu], "come back from the kick, and from memory that is off (SIGBUS)"),
    Rule(
      "rt_sigreturn", [.control, .pin, .device, .trace],
      "come back from a fault's signal that another process sent", isContingent: true),
    Rule(
      "restart_syscall", everyone, "go on waiting after the process was stopped and continued",
      isContingent: true),
    Rule("rt_sigprocmask", [.vcpu, .pin, .device, .trace], "part of pthread_exit"),
    Rule("rt_sigprocmask", [.control], "part of abort", isContingent: true),
    Rule("exit", [.vcpu, .pin, .device, .trace], "the end of a thread"),
    Rule("exit_group", [.control], "the end of the process"),
    Rule(
      "exit_group", [.vcpu, .pin, .device, .trace], "the end of the process by the C library",
      isContingent: true),
  ]

  /// Flags of mmap for the host's pool of huge pages, and for the size of its pages.
  private static let hugeTable = UInt64(MAP_HUGETLB) | UInt64(MAP_HUGE_MASK) << UInt64(MAP_HUGE_SHIFT)
  private static let dontNeed = Argument(2, .number(UInt64(MADV_DONTNEED)), "MADV_DONTNEED")
  /// The C library's malloc with GLIBC_TUNABLES=glibc.malloc.hugetlb=1.
  private static let hugePage = Argument(2, .number(UInt64(MADV_HUGEPAGE)), "MADV_HUGEPAGE")

  /// Wait, wake, and the same for priority-inheriting locks; no requeueing, no FUTEX_WAKE_OP.
  private static let locks = Condition.arguments(
    [
      (FUTEX_WAIT, "FUTEX_WAIT"), (FUTEX_WAKE, "FUTEX_WAKE"), (FUTEX_WAIT_BITSET, "FUTEX_WAIT_BITSET"),
      (FUTEX_LOCK_PI, "FUTEX_LOCK_PI"), (FUTEX_TRYLOCK_PI, "FUTEX_TRYLOCK_PI"),
      (FUTEX_UNLOCK_PI, "FUTEX_UNLOCK_PI"),
    ].map { [Argument(1, mask: 0x7F, .number(UInt64($0.0)), $0.1)] })
}
