// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The event loop of the control socket's thread.
struct ControlLoop: ~Copyable {
  private let server: ControlServer
  private let status: () -> ControlFields
  /// The clients by their token in the event loop.
  private var clients: [UInt64: ControlClient] = [:]
  /// The operations that the main thread has not completed, by ticket.
  private var operations: [UInt64: Pending] = [:]
  private var lastToken = Token.last
  private var lastTicket: UInt64 = 0
  /// The time on the clock at which the event loop watches the listener again, after a client could not be accepted, or
  /// nil.
  private var pauseEnd: Int64?

  /// An operation that has not ended.
  private struct Pending {
    let client: UInt64
    let id: ControlID
    let operation: ControlOperation
  }

  /// The tokens of the event loop. The tokens of clients follow.
  private enum Token {
    static let listener: UInt64 = 0
    static let completions: UInt64 = 1
    static let events: UInt64 = 2
    static let last: UInt64 = 2
  }

  /// The time in microseconds without new clients after a client could not be accepted.
  private static var pause: Int64 { 1_000_000 }
  /// The maximum time in microseconds for the clients to receive the last events.
  private static var lastWait: Int64 { 250_000 }

  init(_ server: ControlServer, status: @escaping () -> ControlFields) {
    (self.server, self.status) = (server, status)
  }

  /// Serves the clients until the end of the VM.
  mutating func run() throws(KernelError) {
    try server.loop.watch(server.socket.number, as: Token.listener)
    try server.loop.watch(server.exchange.forSocket.number, as: Token.completions)
    try server.loop.watch(server.feed.event.number, as: Token.events)
    defer { server.feed.setWanted(false) }
    while true {
      let token = try server.loop.next(within: timeout)
      if let pauseEnd, Clock.microseconds() >= pauseEnd {
        try server.loop.watch(server.socket.number, as: Token.listener)
        self.pauseEnd = nil
      }
      switch token {
      case nil: break
      case Token.listener: try accept()
      case Token.completions: if try complete() { return try finish() }
      case Token.events:
        try server.feed.event.take()
        distribute()
      case let client?: serve(client)
      }
    }
  }

  /// The time in milliseconds until the event loop watches the listener again, or -1.
  private var timeout: Int32 {
    guard let pauseEnd else { return -1 }
    return Int32(clamping: max(0, pauseEnd - Clock.microseconds() + 999) / 1000)
  }

  /// Accepts a client, or refuses it with a reply.
  private mutating func accept() throws(KernelError) {
    do throws(KernelError) {
      guard let socket = try SocketListener.accept(server.socket.number) else { return }
      let isPermitted = server.peers.accepts(try StreamSocket.peer(of: socket.number))
      let client = ControlClient(socket)
      lastToken += 1
      if !isPermitted || clients.count >= ControlServer.clientLimit {
        refuse(client, isPermitted ? .tooManyClients : .notPermitted)
      } else {
        clients[lastToken] = client
        settle(lastToken, client)
      }
    } catch {
      // The listener stays readable while the process has no free descriptor.
      server.warn("control socket: \(error): no client for a second")
      try server.loop.unwatch(server.socket.number)
      pauseEnd = Clock.microseconds() + Self.pause
    }
  }

  private func refuse(_ client: ControlClient, _ error: ControlError) {
    // A client that has closed its socket receives no reply.
    do throws(KernelError) { try client.send(reply(nil, .failure(error))) } catch {}
  }

  private func reply(_ id: ControlID?, _ result: Result<ControlFields, ControlError>) -> [UInt8] {
    ControlReply.line(id, result, advice: server.advice)
  }

  private mutating func close(_ token: UInt64) {
    // The close removes the socket from the event loop.
    clients[token] = nil
    server.feed.setWanted(clients.values.contains { $0.isSubscribed })
  }

  /// Serves a client that has sent bytes, accepts bytes, or has closed the connection.
  private mutating func serve(_ token: UInt64) {
    guard let client = clients[token] else { return }
    do throws(KernelError) {
      guard try client.receive() else { return close(token) }
      try client.flush()
    } catch { return close(token) }
    settle(token, client)
  }

  /// Handles the requests that the client may make now, and waits for its next action.
  private mutating func settle(_ token: UInt64, _ client: ControlClient) {
    do throws(KernelError) {
      reading: while client.isReady {
        switch client.lines.next() {
        case .none: break reading
        case .tooLong:
          client.isClosing = true
          try client.send(reply(nil, .failure(.tooLong)))
        case .line(let line): try handle(line, of: client, token)
        }
      }
      if client.isClosing && client.backlog.isEmpty { return close(token) }
      try client.watch(server.loop, as: token)
    } catch { close(token) }
  }

  /// Handles a request: replies, or adds an operation for the main thread.
  private mutating func handle(
    _ line: [UInt8], of client: ControlClient, _ token: UInt64
  ) throws(KernelError) {
    let request: ControlRequest
    do throws(ControlRequest.Invalid) { request = try ControlRequest(line: line) } catch {
      return try client.send(reply(error.id, .failure(error.error)))
    }
    switch request.action {
    case .status: try client.send(reply(request.id, .success(status())))
    case .events:
      // Earlier events belong to other clients.
      distribute()
      client.isSubscribed = true
      server.feed.setWanted(true)
      try client.send(reply(request.id, .success(ControlFields())))
    case .operation(let operation):
      let descriptors = operation.files.isEmpty ? [] : client.takeDescriptors()
      guard descriptors.count == operation.files.count else {
        let error = ControlError.descriptorCount(
          names: operation.files.count, sent: descriptors.count, operation.verb)
        return try client.send(reply(request.id, .failure(error)))
      }
      let occupied = operations.values.flatMap(\.operation.devices)
      if let device = operation.devices.first(where: { occupied.contains($0) }) {
        let error = ControlError.busy(device: device, operation.verb)
        return try client.send(reply(request.id, .failure(error)))
      }
      lastTicket += 1
      operations[lastTicket] = Pending(client: token, id: request.id, operation: operation)
      client.isWaiting = true
      server.exchange.request(
        .init(ticket: lastTicket, operation: operation, descriptors: descriptors))
    }
  }

  /// Sends the results of operations. Returns true at the end of the VM.
  private mutating func complete() throws(KernelError) -> Bool {
    try server.exchange.forSocket.take()
    let (completions, isOver) = server.exchange.takeCompletions()
    for completion in completions {
      guard let pending = operations.removeValue(forKey: completion.ticket) else { continue }
      finish(pending, completion.result)
    }
    return isOver
  }

  private mutating func finish(_ pending: Pending, _ result: Result<ControlFields, ControlError>) {
    guard let client = clients[pending.client] else { return }
    client.isWaiting = false
    do throws(KernelError) { try client.send(reply(pending.id, result)) } catch {
      return close(pending.client)
    }
    settle(pending.client, client)
  }

  /// Sends the pending events to the clients that receive them. Closes a client whose backlog is too large.
  private mutating func distribute() {
    let (lines, hasOverflowed) = server.feed.take()
    for (token, client) in clients where client.isSubscribed {
      do throws(KernelError) {
        try client.send(lines)
        guard !hasOverflowed, client.backlog.count <= ControlClient.backlogLimit else {
          close(token)
          continue
        }
        try client.watch(server.loop, as: token)
      } catch { close(token) }
    }
  }

  /// Sends the last replies and events.
  private mutating func finish() throws(KernelError) {
    for pending in operations.values { finish(pending, .failure(.ending(pending.operation.verb))) }
    distribute()
    if pauseEnd == nil { try server.loop.unwatch(server.socket.number) }
    for number in [server.exchange.forSocket.number, server.feed.event.number] {
      try server.loop.unwatch(number)
    }
    let end = Clock.microseconds() + Self.lastWait
    while clients.values.contains(where: { !$0.backlog.isEmpty }) {
      let left = end - Clock.microseconds()
      guard left > 0, let token = try server.loop.next(within: Int32(left / 1000) + 1) else { return }
      serve(token)
    }
  }
}
