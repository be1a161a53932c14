// SPDX-License-Identifier: Apache-2.0

internal import CLinux

extension Rule {
  private static let allKinds = Set(ThreadKind.allCases)

  /// The rules that every machine needs. A device on the port bus declares the rules that only it needs.
  public static let core: [Rule] = requests + device + socket + hotplug + runtime

  /// Calls for the guest's CPUs and devices.
  private static let device: [Rule] = [
    Rule("pread64", [.vcpu], "serve trapped reads of device registers and configuration space"),
    Rule("pread64", [.control], "test if a device that the host requests still answers", isContingent: true),
    Rule(
      "pwrite64", [.vcpu, .control],
      "serve trapped writes to device registers and configuration space; disable memory and bus mastering at "
        + "shutdown"),
    Rule("pwrite64", [.device], "disable memory and bus mastering after the reset at the start"),
    Rule(
      "eventfd2", [.vcpu], "create the eventfd of a vector at its first use",
      .arguments([
        [
          Argument(0, .number(0), "count 0"),
          Argument(1, .number(UInt64(CL_EVENT_FLAGS)), "EFD_CLOEXEC|EFD_NONBLOCK"),
        ]
      ])),
    Rule("poll", [.vcpu, .pin], "wait for the start or for pinned RAM; read pending bits of masked vectors"),
    Rule("poll", [.device], "wait for the end of the VM"),
    Rule("poll", [.trace], "wait for trace records"),
    Rule(
      "poll", [.control], "wait for the last trace records and for the console's reader at shutdown",
      isContingent: true),
    Rule("read", [.vcpu, .control], "read eventfd counters, signals and console input"),
    Rule("read", [.trace], "read eventfd counters"),
    Rule("read", [.pin, .device], "read eventfd counters while the trace file is slow", isContingent: true),
    Rule("write", allKinds, "write console output, eventfds, trace records and messages"),
    Rule("epoll_wait", [.control], "wait for signals, console input and the end of the VM"),
    Rule(
      "tgkill", [.vcpu, .control], "kick vCPUs out of KVM_RUN to open a window or to stop; part of abort()",
      .arguments([[ownProcess, kick], [ownProcess, abort]])),
    Rule(
      "tgkill", [.pin, .device, .trace, .socket, .reader, .hotplug], "part of abort()",
      .arguments([[ownProcess, abort]]),
      isContingent: true),
  ]

  /// Calls for the clients of the control socket.
  private static let socket: [Rule] = [
    Rule(
      "accept4", [.socket], "accept a client",
      .arguments([
        [
          Argument(1, mask: .max, .number(0), "no address"),
          Argument(3, .number(UInt64(CL_ACCEPT_FLAGS)), "SOCK_CLOEXEC|SOCK_NONBLOCK"),
        ]
      ])),
    Rule(
      "getsockopt", [.socket], "read the user of a client",
      .arguments([
        [
          Argument(1, .number(UInt64(SOL_SOCKET)), "SOL_SOCKET"),
          Argument(2, .number(UInt64(SO_PEERCRED)), "SO_PEERCRED"),
        ]
      ])),
    Rule("read", [.socket], "read eventfd counters"),
    Rule(
      "recvmsg", [.socket], "receive requests and the descriptors of a device",
      .arguments([[Argument(2, .number(UInt64(CL_MESSAGE_RECEIVE_FLAGS)), "MSG_CMSG_CLOEXEC|MSG_DONTWAIT")]])),
    Rule(
      "sendto", [.socket], "send replies and events to a client",
      .arguments([
        [
          Argument(3, .number(UInt64(CL_SEND_FLAGS)), "MSG_NOSIGNAL|MSG_DONTWAIT"),
          Argument(4, mask: .max, .number(0), "no address"),
        ]
      ])),
    Rule("poll", [.socket], "wait for the start"),
    Rule("epoll_wait", [.socket], "wait for clients, replies and events"),
    Rule("epoll_ctl", [.socket], "watch a client while it may send or receive"),
    Rule("close", [.socket], "close a client"),
  ]

  private static let ownProcess = Argument(0, .ownProcess, "tgid = own process")
  private static let kick = Argument(2, .number(UInt64(SIGURG)), "SIGURG")
  private static let abort = Argument(2, .number(UInt64(SIGABRT)), "SIGABRT")

  /// Calls of the C library and the Swift runtime.
  static let runtime: [Rule] = [
    Rule("futex", [.vcpu, .control], "take and release locks; join threads", locks),
    Rule(
      "futex", [.pin, .device, .trace, .socket, .reader, .hotplug], "take and release locks", locks,
      isContingent: true
    ),
    Rule("getpid", allKinds, "part of abort()", isContingent: true),
    Rule("gettid", allKinds, "lock a Mutex of Swift, which is a priority-inheriting futex"),
    Rule(
      "mmap", allKinds.subtracting([.hotplug]), "allocate large blocks in malloc()", .arguments([allocation]),
      isContingent: true),
    Rule("munmap", [.control], "unmap the machine's memory at shutdown"),
    Rule("munmap", [.device, .hotplug], "unmap a device's memory when the device is released"),
    Rule(
      "munmap", [.vcpu, .pin, .trace, .socket, .reader], "free large blocks in malloc()", isContingent: true),
    Rule(
      "mprotect", allKinds, "grow a heap of malloc() that brk did not allocate",
      .arguments([[Argument(2, .number(UInt64(PROT_READ | PROT_WRITE)), "PROT_READ|PROT_WRITE")]]),
      isContingent: true),
    Rule(
      "madvise", [.vcpu, .device, .trace, .socket, .reader, .hotplug],
      "free the stack of a thread that exits",
      .arguments([[dontNeed], [hugePage]])),
    Rule(
      "madvise", [.pin],
      "populate guest RAM; free the stack of a thread that exits",
      .arguments([
        [dontNeed], [hugePage],
        [Argument(2, .number(UInt64(MADV_POPULATE_WRITE)), "MADV_POPULATE_WRITE")],
      ])),
    Rule("madvise", [.control], "free guest RAM at shutdown", .arguments([[dontNeed], [hugePage]])),
    Rule(
      "writev", allKinds, "write the C library's message before abort()",
      .arguments([[Argument(0, .number(2), "fd 2")]]), isContingent: true),
    Rule("brk", allKinds, "grow and shrink the heap of malloc()", isContingent: true),
    Rule(
      "clock_gettime", allKinds, "read the time if the vDSO cannot read the host's clock source",
      isContingent: true),
    Rule("close", [.control], "close the machine's files at shutdown; close a device that the host requests"),
    Rule("close", [.device, .hotplug], "close a device that is released"),
    Rule("rt_sigreturn", [.vcpu], "return from the kick, and from SIGBUS on disabled device memory"),
    Rule(
      "rt_sigreturn", [.control, .pin, .device, .trace, .socket, .reader, .hotplug],
      "return from the handler of a fault signal that another process sent", isContingent: true),
    Rule(
      "restart_syscall", allKinds, "resume a wait after the process was stopped and continued",
      isContingent: true),
    Rule(
      "rt_sigprocmask", [.vcpu, .pin, .device, .trace, .socket, .reader, .hotplug], "part of pthread_exit()"),
    Rule("rt_sigprocmask", [.control], "part of abort()", isContingent: true),
    Rule("exit", [.vcpu, .pin, .device, .trace, .socket, .reader, .hotplug], "end the thread"),
    Rule("exit_group", [.control], "end the process"),
    Rule(
      "exit_group", [.vcpu, .pin, .device, .trace, .socket, .reader, .hotplug],
      "end the process from the C library",
      isContingent: true),
  ]

  /// The arguments of mmap for memory of malloc().
  static let allocation = [
    notExecutable,
    Argument(
      3, mask: 0xFFFF_FFFF & ~(UInt64(MAP_NORESERVE) | hugeTable),
      .number(UInt64(MAP_PRIVATE | MAP_ANONYMOUS)),
      "MAP_PRIVATE|MAP_ANONYMOUS, with or without MAP_NORESERVE and MAP_HUGETLB"),
  ]
  static let notExecutable = Argument(2, mask: UInt64(PROT_EXEC), .number(0), "prot without PROT_EXEC")

  /// The flags of mmap for the host's pool of huge pages and for their size.
  private static let hugeTable = UInt64(MAP_HUGETLB) | UInt64(MAP_HUGE_MASK) << UInt64(MAP_HUGE_SHIFT)
  private static let dontNeed = Argument(2, .number(UInt64(MADV_DONTNEED)), "MADV_DONTNEED")
  /// Needed by the C library's malloc with GLIBC_TUNABLES=glibc.malloc.hugetlb=1.
  private static let hugePage = Argument(2, .number(UInt64(MADV_HUGEPAGE)), "MADV_HUGEPAGE")

  /// The futex operations to wait and wake, also for priority-inheriting locks. Requeueing and FUTEX_WAKE_OP
  /// are not allowed.
  private static let locks = Condition.arguments(
    [
      (FUTEX_WAIT, "FUTEX_WAIT"), (FUTEX_WAKE, "FUTEX_WAKE"), (FUTEX_WAIT_BITSET, "FUTEX_WAIT_BITSET"),
      (FUTEX_LOCK_PI, "FUTEX_LOCK_PI"), (FUTEX_TRYLOCK_PI, "FUTEX_TRYLOCK_PI"),
      (FUTEX_UNLOCK_PI, "FUTEX_UNLOCK_PI"),
    ].map { [Argument(1, mask: 0x7F, .number(UInt64($0.0)), $0.1)] })
}
