// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux
internal import Synchronization

/// Messages from the server.
extension Connection {
  /// Gives a reply to its request, or serves a command.
  func dispatch(_ message: Message, from source: Channel) throws(ConnectionFault) {
    let header = message.header
    switch header.kind {
    case .reply:
      guard source === channel else { throw .unknownReply(id: header.id) }
      try requests.answer(message)
    case .command:
      guard source === twin ?? channel, let command = Command(rawValue: header.command), command.isServers
      else { throw .unexpectedCommand(header.command) }
      if twin == nil { posting.recordCommand() }
      let transfer: DMATransfer
      do throws(MessageError) { transfer = try Self.parse(message, command) } catch {
        throw .malformed(error)
      }
      try transmit(serve(command, transfer), to: header, on: source)
    }
  }

  private static func parse(_ message: Message, _ command: Command) throws(MessageError) -> DMATransfer {
    guard message.descriptors == nil else {
      throw MessageError("\(command)", .descriptors(message.descriptorCount, expected: 0))
    }
    let transfer = try DMATransfer(parsing: message.body[...])
    let wanted = command == .dmaRead ? 0 : Int(clamping: transfer.range.size)
    guard transfer.data.count == wanted else {
      throw MessageError("\(command)", .size(transfer.data.count, expected: wanted...wanted))
    }
    return transfer
  }

  /// The result of a command of the server.
  private enum Outcome {
    case done(DMATransfer)
    case refused(Int32)
  }

  private func serve(_ command: Command, _ transfer: DMATransfer) -> Outcome {
    let range = transfer.range
    guard range.size <= configuration.capabilities.transferSize else { return .refused(EINVAL) }
    guard mapped.permits(command == .dmaRead ? .read : .write, range) else { return .refused(EFAULT) }
    if command == .dmaRead {
      // Another thread may have removed the memory since the check. The closure decides.
      guard let bytes = memory.read(range), bytes.count == Int(range.size) else { return .refused(EFAULT) }
      return .done(DMATransfer(address: range.address, data: bytes))
    }
    guard memory.write(range.address, transfer.data) else { return .refused(EFAULT) }
    return .done(DMATransfer(range))
  }

  /// Replies to a command. The reply to DMA_WRITE has 16 bytes, which libvfio-user requires.
  private func transmit(_ outcome: Outcome, to command: Header, on channel: Channel) throws(ConnectionFault) {
    var body: [UInt8] = []
    var errno: Int32 = 0
    switch outcome {
    case .done(let transfer): body = transfer.encoded
    case .refused(let number):
      errno = number
      refusals.wrappingAdd(1, ordering: .relaxed)
    }
    if command.wantsNoReply { return }
    let header = Header(
      id: command.id, command: command.command, kind: .reply, bodySize: body.count, isError: errno != 0,
      errno: UInt32(errno))
    try channel.send(header.message(body), within: configuration.deadline)
  }
}
