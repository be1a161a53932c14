// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization

@testable import VFIOUser

/// A server on a socket pair whose replies a test chooses. It runs in a thread.
final class ScriptedServer: Sendable {
  /// The bytes and the descriptors that the server sends for a command.
  struct Answer {
    var bytes: [UInt8]
    var descriptors: [Int32] = []

    /// Nothing.
    static let silence = Answer(bytes: [])

    /// A reply.
    static func reply(
      to command: Header, _ body: [UInt8], id: UInt16? = nil, number: UInt16? = nil, errno: UInt32 = 0,
      descriptors: [Int32] = []
    ) -> Answer {
      let header = Header(
        id: id ?? command.id, command: number ?? command.command, kind: .reply, bodySize: body.count,
        isError: errno != 0, errno: errno)
      return Answer(bytes: header.encoded + body, descriptors: descriptors)
    }

    /// A command of the server.
    static func command(_ command: Command, _ body: [UInt8], id: UInt16 = 1, wantsNoReply: Bool = false)
      -> Answer
    {
      let header = Header(
        id: id, command: command.rawValue, kind: .command, bodySize: body.count, wantsNoReply: wantsNoReply)
      return Answer(bytes: header.encoded + body)
    }

    /// Sends the bytes of two answers.
    static func + (one: Answer, other: Answer) -> Answer {
      Answer(bytes: one.bytes + other.bytes, descriptors: one.descriptors + other.descriptors)
    }
  }

  private let channel: Channel
  private let thread = Mutex<Linux.Thread?>(nil)
  /// The client's end, until it is taken.
  private let other: Mutex<Int32>
  private let inbox = Inbox()

  /// The replies of the client to commands of the server. The thread holds them and not the server. Otherwise the thread
  /// could have the last reference to the server, whose end joins the thread.
  private final class Inbox: Sendable {
    let replies = Mutex<[Message]>([])
  }

  /// Starts a server that accepts VERSION, and answers other messages by a script.
  ///
  /// - Parameters:
  ///   - version: Replaces the reply to VERSION, or nil.
  ///   - script: Returns the answer to a command.
  init(
    version: (@Sendable (Header) -> Answer)? = nil, _ script: @escaping @Sendable (Message) -> Answer
  ) throws {
    let (own, other) = try MessageSocket.makePair()
    channel = Channel(OwnedDescriptor(owning: own))
    self.other = Mutex(other)
    let (channel, inbox) = (channel, inbox)
    let started = try Linux.Thread(name: "scripted") {
      var stream = MessageStream(limit: 1 << 21)
      do {
        while true {
          guard let message = try stream.next(from: channel.number) else {
            _ = try MessageSocket.waitForInput([channel.number], milliseconds: -1)
            continue
          }
          if message.header.kind == .reply {
            inbox.replies.withLock { $0.append(message) }
            continue
          }
          let answer: Answer
          if message.header.command == Command.version.rawValue {
            answer = version?(message.header) ?? .reply(to: message.header, Version().encoded)
          } else {
            answer = script(message)
          }
          if !answer.bytes.isEmpty {
            try channel.send(answer.bytes, descriptors: answer.descriptors, within: 1000)
          }
        }
      } catch {}  // the client has closed the connection
    }
    thread.withLock { $0 = started }
  }

  /// Takes the client's end of the socket.
  func takeSocket() -> OwnedDescriptor {
    OwnedDescriptor(
      owning: other.withLock { number in
        defer { number = -1 }
        return number
      })
  }

  /// Sends bytes without a command.
  func send(_ bytes: [UInt8]) throws { try channel.send(bytes, within: 1000) }

  /// Ends the connection.
  func close() { channel.end() }

  /// Waits until the client has sent a number of replies, and returns them.
  func replies(_ count: Int) -> [Message] {
    let end = Clock.microseconds() + 2_000_000
    while Clock.microseconds() < end {
      let all = inbox.replies.withLock { $0 }
      if all.count >= count { return all }
    }
    return inbox.replies.withLock { $0 }
  }

  deinit {
    channel.end()
    thread.withLock { $0 }?.join()
  }
}
