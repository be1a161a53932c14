// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// The requests that wait for a reply. A slot belongs to one request at a time.
final class ReplySlots: Sendable {
  /// A place for a request.
  final class Slot: Sendable {
    /// Held by any thread for a whole request. Other requests wait for it. It is the first in the lock order of a
    /// connection.
    let turn = Mutex(())
    /// Signalled when the reply has arrived, or when the connection has ended.
    let arrived: EventFD

    init() throws(KernelError) { arrived = try EventFD() }
  }

  private enum Request {
    case none
    case waiting(id: UInt16, Command)
    case answered(Message)
  }

  private struct State {
    var nextID: UInt16 = 1
    var requests: [Request]
    /// The first cause of the end of the connection.
    var fault: ConnectionFault?

    mutating func unusedID() throws(ConnectionFault) -> UInt16 {
      if let fault { throw fault }
      var id = nextID
      while requests.contains(where: { if case .waiting(id, _) = $0 { true } else { false } }) { id &+= 1 }
      nextID = id &+ 1
      return id
    }
  }

  let slots: [Slot]
  /// Signalled when the connection has ended. It stays signalled.
  let ended: EventFD
  /// Taken by any thread for a short time. No lock is taken inside it.
  private let state: Mutex<State>

  /// Creates slots for `count` requests at a time.
  init(count: Int) throws(KernelError) {
    var slots: [Slot] = []
    for _ in 0..<count { slots.append(try Slot()) }
    self.slots = slots
    ended = try EventFD()
    state = Mutex(State(requests: slots.map { _ in .none }))
  }

  /// The first cause of the end of the connection, or nil.
  var fault: ConnectionFault? { state.withLock { $0.fault } }

  /// Registers a request and returns its ID, which no other request has that waits.
  func begin(_ slot: Int, _ command: Command) throws(ConnectionFault) -> UInt16 {
    try state.withLock { state throws(ConnectionFault) in
      let id = try state.unusedID()
      state.requests[slot] = .waiting(id: id, command)
      return id
    }
  }

  /// Returns an ID for a command without a reply. No request that waits has it.
  func unusedID() throws(ConnectionFault) -> UInt16 {
    try state.withLock { state throws(ConnectionFault) in try state.unusedID() }
  }

  /// Takes the reply of a request, or returns nil if it has not arrived.
  func take(_ slot: Int) throws(ConnectionFault) -> Message? {
    try state.withLock { state throws(ConnectionFault) in
      if case .answered(let message) = state.requests[slot] {
        state.requests[slot] = .none
        return message
      }
      if let fault = state.fault { throw fault }
      return nil
    }
  }

  /// Gives a reply to its request.
  func answer(_ message: Message) throws(ConnectionFault) {
    let slot = try state.withLock { state throws(ConnectionFault) -> Int in
      let id = message.header.id
      for (slot, request) in state.requests.enumerated() {
        guard case .waiting(id, let command) = request else { continue }
        guard message.header.command == command.rawValue else {
          throw .wrongCommand(message.header.command, expected: command)
        }
        state.requests[slot] = .answered(message)
        return slot
      }
      throw .unknownReply(id: id)
    }
    slots[slot].arrived.signal()
  }

  /// Ends all requests, now and later. Returns the first cause, and true if it is the given cause.
  func end(_ fault: ConnectionFault) -> (ConnectionFault, isFirst: Bool) {
    let (first, isFirst) = state.withLock { state in
      if let fault = state.fault { return (fault, false) }
      state.fault = fault
      // A thread that sees the fault finds the eventfd signalled.
      ended.signal()
      return (fault, true)
    }
    if isFirst { for slot in slots { slot.arrived.signal() } }
    return (first, isFirst)
  }
}
