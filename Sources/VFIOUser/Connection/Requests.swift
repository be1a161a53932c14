// SPDX-License-Identifier: Apache-2.0

internal import Linux

extension Connection {
  /// Sends a command and returns the reply, which is not an error.
  ///
  /// - Parameters:
  ///   - command: The command.
  ///   - body: The bytes after the header.
  ///   - descriptors: The descriptors to pass, which stay open here.
  ///   - milliseconds: The deadline, or nil for the configuration's.
  func request(
    _ command: Command, _ body: [UInt8], descriptors: [Int32] = [], within milliseconds: Int32? = nil
  ) throws(ConnectionError) -> Message {
    let milliseconds = milliseconds ?? configuration.deadline
    let message = try withSlot { index, slot throws(ConnectionError) in
      let time = Clock.microseconds() + Int64(milliseconds) * 1000
      do throws(ConnectionFault) {
        do throws(KernelError) { try slot.arrived.take() } catch { throw .kernel(error) }
        let id = try requests.begin(index, command)
        let header = Header(id: id, command: command.rawValue, kind: .command, bodySize: body.count)
        try channel.send(header.message(body), descriptors: descriptors, within: milliseconds)
        return try reply(index, command, within: milliseconds, until: time)
      } catch { throw end(error) }
    }
    guard message.header.isError else { return message }
    // libvfio-user's server can send a body, such as the request's; the protocol has none.
    do throws(MessageError) { try requireNoDescriptors(message, command) } catch {
      throw end(.malformed(error))
    }
    throw ConnectionError(name, .refused(command, errno: message.header.errno))
  }

  /// Sends a command and parses the reply, which has no descriptor. A malformed reply ends the connection.
  func request<Reply: Body>(
    _ command: Command, _ body: [UInt8], within milliseconds: Int32? = nil, as type: Reply.Type
  ) throws(ConnectionError) -> Reply {
    let message = try request(command, body, within: milliseconds)
    do throws(MessageError) {
      try requireNoDescriptors(message, command)
      return try Reply(parsing: message.body[...])
    } catch { throw end(.malformed(error)) }
  }

  /// Sends a command whose reply is the header alone.
  func requestWithoutBody(
    _ command: Command, _ body: [UInt8], descriptors: [Int32] = [], within milliseconds: Int32? = nil
  ) throws(ConnectionError) {
    let message = try request(command, body, descriptors: descriptors, within: milliseconds)
    do throws(MessageError) {
      try requireNoDescriptors(message, command)
      try message.body[...].requireSize(0, "\(command)")
    } catch { throw end(.malformed(error)) }
  }

  private func requireNoDescriptors(_ message: Message, _ command: Command) throws(MessageError) {
    guard message.descriptors == nil else {
      throw MessageError("\(command)", .descriptors(message.descriptorCount, expected: 0))
    }
  }
}
