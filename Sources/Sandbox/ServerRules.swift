// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The rules for devices in other processes. Only a VM with such a device has them.
extension Rule {
  /// Calls for the messages of vfio-user.
  public static let servers: [Rule] = [
    Rule(
      "sendmsg", [.vcpu, .control, .device, .hotplug],
      "send a request to the process of a device, with the descriptors of vectors and of guest RAM",
      .arguments([[sendFlags]])),
    Rule(
      "sendmsg", [.reader], "reply to a DMA message of the process of a device", .arguments([[sendFlags]]),
      isContingent: true),
    Rule(
      "recvmsg", [.reader], "receive replies and DMA messages of the process of a device",
      .arguments([[receiveFlags]])),
    Rule(
      "recvmsg", [.hotplug], "read the properties of an added device", .arguments([[receiveFlags]])),
    Rule("poll", [.reader], "wait for messages, and for the connection of an added device"),
    Rule("read", [.reader], "read eventfd counters"),
    Rule("shutdown", [.reader], "end a connection"),
    Rule("shutdown", [.hotplug], "end the connection of a device that cannot be added", isContingent: true),
    Rule(
      "close", [.reader, .vcpu], "close the files of a device that has left, as the last user of its memory",
      isContingent: true),
    Rule(
      "getsockopt", [.hotplug], "check the kind of a socket that a client has sent",
      .arguments(
        [(SO_DOMAIN, "SO_DOMAIN"), (SO_TYPE, "SO_TYPE"), (SO_ACCEPTCONN, "SO_ACCEPTCONN")].map {
          [
            Argument(1, .number(UInt64(SOL_SOCKET)), "SOL_SOCKET"), Argument(2, .number(UInt64($0.0)), $0.1),
          ]
        })),
  ]

  private static let sendFlags = Argument(
    2, .number(UInt64(CL_MESSAGE_SEND_FLAGS)), "MSG_NOSIGNAL|MSG_DONTWAIT")
  private static let receiveFlags = Argument(
    2, .number(UInt64(CL_MESSAGE_RECEIVE_FLAGS)), "MSG_CMSG_CLOEXEC|MSG_DONTWAIT")
}
