// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The control socket of a VM: its listener, its peers, and the exchange with the other threads.
public final class ControlServer: Sendable {
  let socket: ControlSocket
  let peers: ControlPeers
  let exchange: ControlExchange
  let feed: EventFeed
  /// The event loop of the socket's thread. The thread's filter forbids a new one.
  let loop: Epoll
  /// Returns the remedy for an error.
  let advice: @Sendable (ControlError) -> String
  /// Logs a warning.
  let warn: @Sendable (String) -> Void

  /// The maximum number of clients.
  public static let clientLimit = 8

  init(
    _ socket: ControlSocket, peers: ControlPeers, feed: EventFeed,
    advice: @escaping @Sendable (ControlError) -> String, warn: @escaping @Sendable (String) -> Void
  ) throws(KernelError) {
    (self.socket, self.peers, self.feed, self.advice, self.warn) = (socket, peers, feed, advice, warn)
    exchange = try ControlExchange()
    loop = try Epoll()
  }

  /// Serves the clients until ``ControlExchange/finish()``. This is the body of the socket's thread.
  ///
  /// - Parameter status: Returns the status of the VM.
  func run(status: @escaping () -> ControlFields) {
    do throws(KernelError) {
      var loop = ControlLoop(self, status: status)
      try loop.run()
    } catch { warn("control socket: \(error): it accepts no more clients") }
  }
}
