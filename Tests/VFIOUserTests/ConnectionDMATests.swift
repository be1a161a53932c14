// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import Testing

@testable import VFIOUser

/// DMA commands of a server.
@Suite struct ConnectionDMATests {
  typealias Answer = ScriptedServer.Answer

  private static func transfer(_ address: UInt64, _ size: UInt64) -> [UInt8] {
    DMATransfer(IOVARange(address: address, size: size)).encoded
  }

  /// Connects to a server that sends a command before its reply to a reset, and returns the client's reply.
  private static func reply(
    to command: Answer, mapping access: DMAAccess = [.read, .write], memory: TestMemory
  ) throws -> (Message?, refusals: UInt64) {
    let server = try ScriptedServer { message in
      let reply = Answer.reply(to: message.header, [])
      return message.header.command == Command.deviceReset.rawValue ? command + reply : reply
    }
    let connection = try Connection(server.takeSocket(), name: "test", memory: memory.handler)
    // Two adjacent ranges.
    let half = memory.range.size / 2
    try connection.map(IOVARange(address: memory.range.address, size: half), access)
    try connection.map(IOVARange(address: memory.range.address + half, size: half), access)
    try connection.reset()
    return (server.replies(1).first, connection.refusedTransfers)
  }

  @Test("a read and a write are served while a reply is owed, also across two ranges")
  func served() throws {
    let memory = try TestMemory()
    let address = memory.range.address + memory.range.size / 2 - 2
    memory.write(address, [1, 2, 3, 4])
    let read = try Self.reply(to: .command(.dmaRead, Self.transfer(address, 4), id: 9), memory: memory).0
    #expect(read?.header.id == 9 && read?.header.isError == false)
    #expect(read?.body == DMATransfer(address: address, data: [1, 2, 3, 4]).encoded)
    let data = DMATransfer(address: address, data: [5, 6, 7]).encoded
    let write = try Self.reply(to: .command(.dmaWrite, data), memory: memory).0
    #expect(write?.body == Self.transfer(address, 3))
    #expect(memory.read(address, 4) == [5, 6, 7, 4])
  }

  @Test("a transfer outside the mapped ranges, or without the access, is refused and counted")
  func refused() throws {
    let memory = try TestMemory()
    let end = memory.range.address + memory.range.size
    for (command, access) in [
      (Answer.command(.dmaRead, Self.transfer(end - 1, 2)), DMAAccess.read),
      (.command(.dmaRead, Self.transfer(0, 1)), .read), (.command(.dmaRead, Self.transfer(.max, 1)), .read),
      (.command(.dmaRead, Self.transfer(end - 8, 1)), .write),
      (.command(.dmaWrite, DMATransfer(address: end - 8, data: [1]).encoded), .read),
    ] {
      let (reply, refusals) = try Self.reply(to: command, mapping: access, memory: memory)
      #expect(reply?.header.errno == UInt32(EFAULT) && reply?.body == [])
      #expect(refusals == 1)
    }
    #expect(memory.read(end - 8, 1) == [0])
    let large = try Self.reply(
      to: .command(.dmaRead, Self.transfer(memory.range.address, 1 << 20 + 1)), memory: memory)
    #expect(large.0?.header.errno == UInt32(EINVAL))
  }

  @Test("a command without a reply has none")
  func noReply() throws {
    let memory = try TestMemory()
    let data = DMATransfer(address: memory.range.address, data: [5]).encoded
    let command = Answer.command(.dmaWrite, data, wantsNoReply: true)
    let next = Answer.command(.dmaRead, Self.transfer(memory.range.address, 1), id: 2)
    let reply = try Self.reply(to: command + next, memory: memory).0
    #expect(reply?.header.id == 2 && reply?.body.last == 5)
  }

  @Test("unmapped memory is refused after the reply")
  func unmapped() throws {
    let memory = try TestMemory()
    let command = Answer.command(.dmaRead, Self.transfer(memory.range.address, 1))
    let server = try ScriptedServer { message in
      switch Command(rawValue: message.header.command) {
      case .dmaUnmap: .reply(to: message.header, message.body)
      case .deviceReset: command + .reply(to: message.header, [])
      default: .reply(to: message.header, [])
      }
    }
    let connection = try Connection(server.takeSocket(), name: "test", memory: memory.handler)
    try connection.map(memory.range)
    #expect(throws: ConnectionError("test", .refused(.dmaMap, errno: UInt32(EEXIST)))) {
      try connection.map(IOVARange(address: memory.range.address + 4096, size: 1))
    }
    try connection.reset()
    try connection.unmap(memory.range)
    try connection.reset()
    #expect(server.replies(2).map(\.header.isError) == [false, true])
  }

  @Test("with a second socket, a command on the first and a reply on the second are errors")
  func twin() throws {
    for isReply in [true, false] {
      let (own, other) = try MessageSocket.makePair()
      let second = Channel(OwnedDescriptor(owning: own))
      let client = OwnedDescriptor(owning: other)
      let passed = client.number
      let server = try ScriptedServer(version: { header in
        var capabilities = Capabilities()
        (capabilities.twinSocket, capabilities.twinSocketIndex) = (true, 0)
        return .reply(to: header, Version(capabilities: capabilities).encoded, descriptors: [passed])
      }) { message in
        let reply = Answer.reply(to: message.header, [])
        if !isReply { return .command(.dmaRead, Self.transfer(0, 1)) + reply }
        try? second.send(reply.bytes, within: 1000)
        return .silence
      }
      let connection = try Connection(server.takeSocket(), name: "test", memory: try TestMemory().handler)
      #expect(connection.hasTwinSocket)
      let fault = isReply ? ConnectionFault.unknownReply(id: 1) : .unexpectedCommand(11)
      #expect(throws: ConnectionError("test", fault)) { try connection.reset() }
      withExtendedLifetime(client.number) {}
    }
  }
}
