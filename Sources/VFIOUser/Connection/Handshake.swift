// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// The exchange of VERSION, the first message of a client. No other thread uses the connection.
struct Handshake {
  /// The server's capabilities.
  let server: Capabilities
  /// The socket for the server's commands, or nil if the server has none.
  let twin: Channel?

  private static let id: UInt16 = 0

  /// Sends VERSION and waits for the reply.
  init(_ channel: Channel, _ client: Capabilities, within milliseconds: Int32) throws(ConnectionFault) {
    let end = Clock.microseconds() + Int64(milliseconds) * 1000
    let body = Version(capabilities: client).encoded
    let header = Header(id: Self.id, command: Command.version.rawValue, kind: .command, bodySize: body.count)
    try channel.send(header.message(body), within: milliseconds)
    let reply = try Self.reply(channel, until: end, milliseconds)
    let version: Version
    do throws(MessageError) { version = try Version(parsing: reply.body[...]) } catch {
      throw .malformed(error)
    }
    guard version.major == Version.major else { throw .version(version.major) }
    server = version.capabilities
    guard client.twinSocket, server.twinSocket else {
      twin = nil
      guard reply.descriptors == nil else {
        throw .malformed(MessageError("VERSION", .descriptors(reply.descriptorCount, expected: 0)))
      }
      return
    }
    let index = server.twinSocketIndex ?? 0
    guard reply.descriptorCount == 1, index == 0, let socket = reply.descriptors?.take(0) else {
      throw .malformed(MessageError("VERSION", .descriptors(reply.descriptorCount, expected: 1)))
    }
    twin = Channel(socket)
  }

  /// Receives the reply. The stream stays at the start of a message.
  private static func reply(
    _ channel: Channel, until end: Int64, _ milliseconds: Int32
  ) throws(ConnectionFault) -> Message {
    var stream = MessageStream(limit: Header.size + Version.mostBytes)
    while true {
      if let message = try stream.next(from: channel.number) {
        let header = message.header
        guard header.kind == .reply else { throw .unexpectedCommand(header.command) }
        guard header.id == id else { throw .unknownReply(id: header.id) }
        guard header.command == Command.version.rawValue else {
          throw .wrongCommand(header.command, expected: .version)
        }
        if header.isError { throw .refused(.version, errno: header.errno) }
        return message
      }
      let left = Deadline.milliseconds(until: end)
      guard left > 0 else { throw .late(.version, milliseconds: milliseconds) }
      do throws(KernelError) {
        _ = try MessageSocket.waitForInput([channel.number], milliseconds: left)
      } catch { throw .kernel(error) }
    }
  }
}
