// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The socket of the service manager that has started this process (sd_notify(3)). It is connected before the guest
/// starts, so that a message needs no other call than write(2).
public final class ServiceManager: Sendable {
  private let socket: OwnedDescriptor

  /// A message to the service manager.
  public enum Message: Sendable {
    /// The service is ready.
    case ready
    /// The service is stopping.
    case stopping
    /// The service needs a time in microseconds to stop. The manager does not end it before.
    case stopWaits(Int64)
  }

  /// Connects to the socket that the variable NOTIFY_SOCKET names.
  ///
  /// - Returns: Nil if the variable is not set.
  /// - Throws: The cause if the socket cannot be reached.
  public static func connect() throws(KernelError) -> ServiceManager? {
    // SAFETY: the string is copied at once. No other thread changes the environment.
    guard let text = unsafe getenv("NOTIFY_SOCKET") else { return nil }
    return ServiceManager(try connect(to: unsafe String(cString: text)))
  }

  /// Returns a socket that is connected to a path, or to an abstract name if the text begins with `@`.
  static func connect(to name: String) throws(KernelError) -> OwnedDescriptor {
    // SAFETY: the call copies the string.
    OwnedDescriptor(
      owning: try check(unsafe cl_connect_datagram(name), "connect to NOTIFY_SOCKET \(name)"))
  }

  /// Takes a connected socket.
  public init(_ socket: consuming OwnedDescriptor) { self.socket = socket }

  /// Sends a message and a status text. A service manager that does not read it does not delay the caller.
  ///
  /// - Parameters:
  ///   - message: The message.
  ///   - status: The status text, without a newline.
  public func send(_ message: Message, status: String) {
    let state =
      switch message {
      case .ready: "READY=1"
      case .stopping: "STOPPING=1"
      case .stopWaits(let time): "EXTEND_TIMEOUT_USEC=\(time)"
      }
    let text = Array("\(state)\nSTATUS=\(status)\n".utf8)
    // SAFETY: the buffer lives for the call. A message that is lost has no other effect.
    _ = unsafe text.withUnsafeBytes { unsafe cl_write(socket.number, $0.baseAddress, $0.count) }
  }
}
