// SPDX-License-Identifier: Apache-2.0

import CLinux
package import Linux
package import VFIOUser

/// A client's connection, on the server's side. One thread uses it.
package final class Session<Logic: DeviceLogic> {
  /// Settings of a server.
  package struct Settings {
    /// The server offers a second socket for its commands.
    var offersTwinSocket = false
    /// The server ignores the descriptors of DMA_MAP.
    var ignoresDescriptors = false
    /// The server refuses the accesses that libvfio-user's server refuses.
    var isStrict = false
    /// The maximum number of descriptors of a message to the server.
    var messageDescriptors = 8

    /// Creates the defaults.
    package init() {}
  }

  let function: ServedFunction<Logic>
  let settings: Settings
  private let channel: Channel
  private var stream: MessageStream
  /// The socket for the server's commands after VERSION, or nil.
  private var twin: Channel?
  private var twinStream: MessageStream
  /// The client's end of the second socket until it is sent.
  var newTwin: SharedDescriptor?
  /// Commands that arrived while the server waited for a reply.
  private var waiting: [Message] = []
  private var nextID: UInt16 = 1
  var memory = ClientMemory()
  var lines: InterruptLines
  var injector: FaultInjector
  /// The client's capabilities, or nil before VERSION.
  var client: Capabilities?

  /// The deadline for the client, in milliseconds.
  static var deadline: Int32 { 5000 }
  /// The maximum number of data bytes of a message to the server.
  static var transferSize: Int { 1 << 20 }
  /// The maximum size of a message to the server, in bytes.
  private static var messageLimit: Int { Header.size + Version.mostBytes + transferSize }
  /// The maximum number of commands that wait.
  private static var mostWaiting: Int { 64 }

  /// Creates a session with a client that has connected.
  package init(
    _ socket: consuming OwnedDescriptor, _ function: ServedFunction<Logic>, _ settings: Settings,
    _ injector: FaultInjector
  ) {
    channel = Channel(socket)
    stream = MessageStream(limit: Self.messageLimit)
    twinStream = MessageStream(limit: Self.messageLimit)
    (self.function, self.settings, self.injector) = (function, settings, injector)
    lines = InterruptLines(vectors: function.vectors)
  }

  /// The number of the client's socket.
  package var number: Int32 { channel.number }

  /// Handles the commands that have arrived.
  ///
  /// - Throws: An error after which the connection must be closed.
  package func receive() throws(ConnectionFault) {
    while !injector.isHung, let message = try nextCommand() { try handle(message) }
  }

  private func nextCommand() throws(ConnectionFault) -> Message? {
    if !waiting.isEmpty { return waiting.removeFirst() }
    guard let message = try stream.next(from: channel.number) else { return nil }
    guard message.header.kind == .command else { throw .unknownReply(id: message.header.id) }
    return message
  }

  /// Creates the second socket. Returns the number of the client's end, which ``newTwin`` owns, or nil if the kernel
  /// creates no socket: the server then offers none.
  func makeTwin() -> Int32? {
    guard let (own, other) = try? MessageSocket.makePair() else { return nil }
    twin = Channel(OwnedDescriptor(owning: own))
    newTwin = SharedDescriptor(OwnedDescriptor(owning: other))
    return other
  }

  /// Sends a reply, with the faults of the present message.
  func reply(
    to command: Header, _ body: [UInt8], errno: Int32 = 0, descriptors: [Int32] = []
  ) throws(ConnectionFault) {
    if command.wantsNoReply || injector.isHung { return }
    let header = Header(
      id: command.id, command: command.command, kind: .reply, bodySize: body.count, isError: errno != 0,
      errno: UInt32(errno))
    for one in injector.transmissions(header, body) {
      if one.delay > 0 {
        do throws(KernelError) { _ = try MessageSocket.waitForInput([], milliseconds: one.delay) } catch {
          throw .kernel(error)
        }
      }
      try channel.send(
        one.bytes, descriptors: one.hasDescriptors ? descriptors : [], within: Self.deadline)
    }
  }

  /// Sends a command to the client and returns the body of its reply, or nil if the client refuses. Other commands wait
  /// until the present command is done.
  func request(_ command: Command, _ transfer: DMATransfer) throws(ConnectionFault) -> DMATransfer? {
    let body = transfer.encoded
    let id = nextID
    nextID &+= 1
    let header = Header(id: id, command: command.rawValue, kind: .command, bodySize: body.count)
    let target = twin ?? channel
    try target.send(header.encoded + body, within: Self.deadline)
    let end = Clock.microseconds() + Int64(Self.deadline) * 1000
    while true {
      let next = twin == nil ? try stream.next(from: target.number) : try twinStream.next(from: target.number)
      guard let message = next else {
        guard Clock.microseconds() < end else { throw .late(command, milliseconds: Self.deadline) }
        do throws(KernelError) {
          _ = try MessageSocket.waitForInput([target.number], milliseconds: 100)
        } catch { throw .kernel(error) }
        continue
      }
      if message.header.kind == .command {
        guard twin == nil, waiting.count < Self.mostWaiting else {
          throw .unexpectedCommand(message.header.command)
        }
        waiting.append(message)
        continue
      }
      guard message.header.id == id else { throw .unknownReply(id: message.header.id) }
      guard message.header.command == command.rawValue else {
        throw .wrongCommand(message.header.command, expected: command)
      }
      if message.header.isError { return nil }
      do throws(MessageError) { return try Self.parse(message.body[...], command, transfer) } catch {
        throw .malformed(error)
      }
    }
  }

  /// Parses a reply to a DMA command. The reply to DMA_WRITE has 16 bytes, or 4 bytes by the specification's text.
  private static func parse(
    _ body: ArraySlice<UInt8>, _ command: Command, _ transfer: DMATransfer
  ) throws(MessageError) -> DMATransfer {
    if command == .dmaWrite, body.count == 4 { return transfer }
    let reply = try DMATransfer(parsing: body)
    let count = command == .dmaRead ? Int(clamping: transfer.range.size) : 0
    guard reply.range == transfer.range else {
      throw MessageError("\(command)", .range(start: reply.range.address, size: reply.range.size))
    }
    guard reply.data.count == count else {
      throw MessageError("\(command)", .size(reply.data.count, expected: count...count))
    }
    return reply
  }

  /// Performs work of the device that belongs to no message, and handles the commands that arrive during the work.
  /// Returns true if there was work.
  package func work() throws(ConnectionFault) -> Bool {
    guard client != nil else { return false }
    var hasWorked = false
    while !injector.isHung {
      let port = SessionPort(self)
      if function.logic.work(port) { hasWorked = true }
      if let fault = port.fault { throw fault }
      // The socket has no input for commands that have already been received.
      if waiting.isEmpty { break }
      try receive()
    }
    return hasWorked
  }

  /// The client has signalled the eventfd that unmasks INTx.
  package func unmask() {
    guard let event = lines.unmaskEvent else { return }
    // The client can send another kind of file. Its read must not wait.
    guard cl_poll_readable(event.number, 0) > 0, cl_eventfd_take(event.number) > 0 else { return }
    lines.setMask(false, isDisabled: function.config.isInterruptDisabled)
  }

  /// The fault injector after the messages of this session.
  package var finalInjector: FaultInjector { injector }
}
