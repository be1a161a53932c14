// SPDX-License-Identifier: Apache-2.0

package import Linux
import VFIOUser

/// A process that serves a device to one client at a time.
package final class Server<Logic: DeviceLogic> {
  private enum Token {
    static var signals: UInt64 { 1 }
    static var listener: UInt64 { 2 }
    static var client: UInt64 { 3 }
    static var unmask: UInt64 { 4 }
  }

  private let path: String
  private let listener: OwnedDescriptor
  private let signals: SignalFD
  private let loop: Epoll
  private let function: ServedFunction<Logic>
  private let settings: Session<Logic>.Settings
  private var injector: FaultInjector
  private var session: Session<Logic>?
  /// The client's eventfd that unmasks INTx, or nil. It stays open while the loop watches it: the client has the same
  /// file, and a close would not remove it from the loop.
  private var unmaskEvent: SharedDescriptor?
  private var isUnmaskWatched = false
  /// True if the client can change mapped registers without a message.
  private let polls: Bool
  /// The time until which the server polls without a wait, in microseconds.
  private var busyUntil: Int64 = 0

  /// Creates the socket and its file.
  ///
  /// - Parameters:
  ///   - path: The path of the socket. The file of a server that has ended is replaced.
  ///   - polls: True if the server looks for work in intervals of at most 1 ms.
  /// - Throws: ``KernelError/addressInUse`` if another process listens at the path.
  package init(
    path: String, _ function: ServedFunction<Logic>, _ settings: Session<Logic>.Settings,
    _ injector: FaultInjector, polls: Bool
  ) throws(KernelError) {
    (self.path, self.function, self.settings, self.injector) = (path, function, settings, injector)
    self.polls = polls
    signals = try SignalFD()
    loop = try Epoll()
    listener = try Self.listen(path)
    try signals.watch(loop, as: Token.signals)
    try loop.watch(listener.number, as: Token.listener)
  }

  private static func listen(_ path: String) throws(KernelError) -> OwnedDescriptor {
    do throws(KernelError) { return try SocketListener.create(at: path) } catch
      where error.errno
      == KernelError.addressInUse
    {
      do throws(KernelError) { _ = try StreamSocket.connect(to: path, waits: false) } catch let reason
        where reason.errno == KernelError.connectionRefused
      {
        try SocketListener.removeFile(path)
        return try SocketListener.create(at: path)
      }
      throw error
    }
  }

  /// Serves clients until a signal ends the process. Then flushes the device and removes the socket's file.
  package func run() throws(KernelError) {
    while true {
      let token = try loop.next(within: timeout)
      switch token {
      case Token.signals:
        var ends = false
        while let effect = try signals.next() { if case .end = effect { ends = true } }
        if ends {
          finish()
          return
        }
      case Token.listener: try accept()
      case Token.client: try perform { session throws(ConnectionFault) in try session.receive() }
      case Token.unmask: session?.unmask()
      default: break
      }
      try perform { session throws(ConnectionFault) in
        if try session.work() { busyUntil = Clock.microseconds() + 2000 }
      }
      try watchUnmask()
    }
  }

  private var timeout: Int32 {
    guard polls, session != nil else { return -1 }
    return Clock.microseconds() < busyUntil ? 0 : 1
  }

  private func accept() throws(KernelError) {
    guard let socket = try SocketListener.accept(listener.number) else { return }
    // A second client waits in the queue of the listener.
    try loop.unwatch(listener.number)
    let session = Session(socket, function, settings, injector)
    try loop.watch(session.number, as: Token.client)
    self.session = session
  }

  /// Calls a method of the session, if there is one. An error closes the connection.
  private func perform(_ body: (Session<Logic>) throws(ConnectionFault) -> Void) throws(KernelError) {
    guard let session else { return }
    do throws(ConnectionFault) {
      try body(session)
      // A client whose messages are not received would wake the loop again and again.
      if session.injector.isHung { try unwatch(session) }
    } catch {
      if error != .ended { writeStandardError("\(path): \(error)\n") }
      try leave(session)
    }
  }

  private func unwatch(_ session: Session<Logic>) throws(ConnectionFault) {
    do throws(KernelError) { try loop.unwatch(session.number) } catch
      where error.errno == KernelError.noEntry
    {
      // It is already not watched.
    } catch { throw .kernel(error) }
  }

  /// Forgets a client. The device is reset; its storage keeps its data.
  private func leave(_ session: Session<Logic>) throws(KernelError) {
    injector = session.finalInjector
    // The close of its last descriptor removes the socket from the loop.
    self.session = nil
    function.reset()
    injector.reset()
    try loop.watch(listener.number, as: Token.listener)
  }

  /// Watches the present eventfd that unmasks INTx.
  private func watchUnmask() throws(KernelError) {
    let event = session?.lines.unmaskEvent
    if event === unmaskEvent { return }
    if isUnmaskWatched, let old = unmaskEvent { try loop.unwatch(old.number) }
    (unmaskEvent, isUnmaskWatched) = (event, false)
    // The client can send a file that epoll refuses, such as a regular file. It then unmasks nothing.
    guard let event, (try? loop.watch(event.number, as: Token.unmask)) != nil else { return }
    isUnmaskWatched = true
  }

  private func finish() {
    function.logic.flush()
    // The file may be gone.
    try? SocketListener.removeFile(path)
  }
}
