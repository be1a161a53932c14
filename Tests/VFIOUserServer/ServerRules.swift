// SPDX-License-Identifier: Apache-2.0

import Linux
import Sandbox

/// The confinement of a server: the system calls after its socket and its image are open.
enum ServerConfinement {
  private static let rules: [Rule] = [
    Rule("epoll_wait", kind, "wait for signals, clients and messages"),
    Rule("epoll_ctl", kind, "watch a client while it is connected"),
    Rule("poll", kind, "wait for room in a socket and for the reply to a DMA command"),
    Rule("accept4", kind, "accept a client"),
    Rule("socketpair", kind, "create the second socket of a client"),
    Rule("recvmsg", kind, "receive commands and descriptors"),
    Rule("sendmsg", kind, "send replies and DMA commands"),
    Rule("shutdown", kind, "end a connection"),
    Rule("read", kind, "read signals and the eventfd that unmasks INTx"),
    Rule("write", kind, "signal eventfds; write messages"),
    Rule("pread64", kind, "read the client's memory and the image"),
    Rule("pwrite64", kind, "write the client's memory and the image"),
    Rule("fdatasync", kind, "flush the image"),
    Rule("newfstatat", kind, "read the size of the client's memory"),
    Rule("fstat", kind, "read the size of the client's memory"),
    Rule("close", kind, "close a client and its descriptors"),
    Rule("lstat", kind, "check the socket's file at the end"),
    Rule("unlink", kind, "remove the socket's file at the end"),
    Rule("futex", kind, "take and release locks"),
    Rule("gettid", kind, "lock a Mutex of Swift"),
    Rule("mmap", kind, "allocate large blocks in malloc()"),
    Rule("mremap", kind, "grow large blocks in realloc()"),
    Rule("munmap", kind, "free large blocks in malloc()"),
    Rule("mprotect", kind, "grow a heap of malloc()"),
    Rule("madvise", kind, "shrink a heap of malloc()"),
    Rule("brk", kind, "grow the heap of malloc()"),
    Rule("clock_gettime", kind, "read the time if the vDSO cannot"),
    Rule("restart_syscall", kind, "resume a wait after the process was stopped"),
    Rule("rt_sigreturn", kind, "return from the handler of a fault signal"),
    Rule("rt_sigprocmask", kind, "part of abort()"),
    Rule("getpid", kind, "part of abort()"),
    Rule("tgkill", kind, "part of abort()"),
    Rule("writev", kind, "write the C library's message before abort()"),
    Rule("exit_group", kind, "end the process"),
  ]

  private static let kind: Set<ThreadKind> = [.control]

  /// Confines the process, which has one thread. Any other call ends it.
  static func enter() throws {
    try ProcessSandbox.prepare()
    try ThreadSandbox(.control, rules: rules).enter()
  }
}
