// SPDX-License-Identifier: Apache-2.0

public import Linux
public import Seams

/// The failure of a request to a server of vfio-user.
public struct ConnectionError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The name of the connection, such as the path of its socket.
  public let subject: String
  /// The cause.
  public let cause: ConnectionFault

  /// Creates an error.
  public init(_ subject: String, _ cause: ConnectionFault) {
    self.subject = subject
    self.cause = cause
  }

  /// The connection and the cause.
  public var description: String { "vfio-user \(subject): \(cause)" }
}

/// The cause of a failed request. Every cause except ``refused(_:errno:)`` ends the connection.
public enum ConnectionFault: Error, Equatable, Sendable, CustomStringConvertible {
  /// The server has sent an error as its reply. The error number is the server's (errno.h), or 0.
  case refused(Command, errno: UInt32)
  /// A call of the kernel failed.
  case kernel(KernelError)
  /// A message of the server breaks the protocol.
  case malformed(MessageError)
  /// The server has sent a reply that belongs to no request.
  case unknownReply(id: UInt16)
  /// The server has sent a reply with another command than the request.
  case wrongCommand(UInt16, expected: Command)
  /// The server has sent a command that only a client may send, or on the wrong socket.
  case unexpectedCommand(UInt16)
  /// The server has sent no reply before the deadline.
  case late(Command, milliseconds: Int32)
  /// The server does not receive a message before the deadline.
  case stalled(milliseconds: Int32)
  /// The server has another major version.
  case version(UInt16)
  /// The server has closed the connection.
  case ended
  /// This process has closed the connection.
  case closed

  /// True if the connection ends.
  public var endsConnection: Bool { if case .refused = self { false } else { true } }

  /// The positive error number that the server or the kernel returned (errno.h), or nil.
  public var errno: Int32? {
    switch self {
    case .refused(_, let errno) where errno > 0: Int32(exactly: errno)
    case .kernel(let error): error.errno
    default: nil
    }
  }

  /// The operation and the cause.
  public var description: String {
    switch self {
    case .refused(let command, _):
      "\(command): refused: \(errno.map(KernelError.reason) ?? "no error number")"
    case .kernel(let error): error.description
    case .malformed(let error): error.description
    case .unknownReply(let id): "a reply to no request: ID \(id)"
    case .wrongCommand(let command, let expected):
      "\(expected): the reply belongs to \(Command.name(command))"
    case .unexpectedCommand(let command): "unexpected command: \(Command.name(command))"
    case .late(let command, let milliseconds): "\(command): no reply within \(milliseconds) ms"
    case .stalled(let milliseconds): "send: the other process accepts no message within \(milliseconds) ms"
    case .version(let major): "VERSION: major version \(major) instead of \(Version.major)"
    case .ended: "the other process has closed the connection"
    case .closed: "the connection is closed"
    }
  }
}

extension OperationError {
  /// Creates an error from an error of a connection. The name of the device is left out, because every message about the
  /// device contains it.
  public init(_ error: ConnectionError) { self.init(error.cause.description, errno: error.cause.errno) }
}
