// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The rules for the process that connects to the sockets of devices again. The process has one thread. It does not share the
/// memory of the VM's process.
extension Rule {
  /// Compiles the filter for the process.
  public static func connectorSandbox() throws(SandboxError) -> ThreadSandbox {
    try ThreadSandbox(.control, rules: connector)
  }

  /// The rules, all for ``ThreadKind/control``.
  static let connector: [Rule] =
    [
      Rule("poll", [.control], "wait for a request"),
      Rule("recvmsg", [.control], "receive a request of the VM"),
      Rule("sendmsg", [.control], "send the VM a socket, or an error number"),
      Rule(
        "socket", [.control], "create a socket",
        .arguments([
          [
            Argument(0, .number(UInt64(AF_UNIX)), "AF_UNIX"),
            Argument(1, .number(UInt64(CL_CONNECT_TYPE)), "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK"),
          ]
        ])),
      Rule("connect", [.control], "connect to the process of a device"),
    ] + runtime.filter { $0.threads.contains(.control) }
}
