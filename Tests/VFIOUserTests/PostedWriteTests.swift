// SPDX-License-Identifier: Apache-2.0

import Linux
import Synchronization
import Testing

@testable import VFIOUser

/// Writes that do not wait for the server's reply.
@Suite struct PostedWriteTests {
  /// The writes that a server has received, in order: true for a posted write.
  private final class Log: Sendable {
    let writes = Mutex<[Bool]>([])

    /// Waits until the server has received a number of writes.
    func all(_ count: Int) -> [Bool] {
      let end = Clock.microseconds() + 5_000_000
      while writes.withLock({ $0.count }) < count, Clock.microseconds() < end {}
      return writes.withLock { $0 }
    }
  }

  /// Starts a server that answers every command.
  ///
  /// - Parameters:
  ///   - log: Receives the writes.
  ///   - twin: The descriptor of a second socket, or nil.
  ///   - commandAt: The number of the write before whose reply the server sends a command, or nil.
  private static func server(_ log: Log, twin: Int32? = nil, commandAt: Int? = nil) throws -> ScriptedServer {
    let version: @Sendable (Header) -> ScriptedServer.Answer = { header in
      var capabilities = Capabilities()
      if twin != nil { (capabilities.twinSocket, capabilities.twinSocketIndex) = (true, 0) }
      let body = Version(capabilities: capabilities).encoded
      return .reply(to: header, body, descriptors: twin.map { [$0] } ?? [])
    }
    return try ScriptedServer(version: version) { message in answer(message, log, commandAt: commandAt) }
  }

  private static func answer(_ message: Message, _ log: Log, commandAt: Int?) -> ScriptedServer.Answer {
    guard message.header.command == Command.regionWrite.rawValue else {
      return .reply(to: message.header, [])
    }
    let count = log.writes.withLock { writes in
      writes.append(message.header.wantsNoReply)
      return writes.count
    }
    if message.header.wantsNoReply { return .silence }
    let reply = ScriptedServer.Answer.reply(to: message.header, Array(message.body.prefix(16)))
    guard count == commandAt else { return reply }
    let transfer = DMATransfer(IOVARange(address: 0x1000_0000, size: 1))
    return .command(.dmaRead, transfer.encoded) + reply
  }

  private static func write(_ count: Int, _ connection: Connection) throws {
    for number in 0..<count {
      try connection.write(0, offset: 8, width: 4, UInt64(number), isPosted: true)
    }
  }

  @Test("a posted write has the bytes of a REGION_WRITE without a reply", arguments: [1, 2, 4, 8])
  func encoding(_ width: Int) throws {
    let (value, offset) = (0x8877_6655_4433_2211 as UInt64, 0x1234_5678_9ABC as UInt64)
    let write = PostedWrite(id: 0xFEDC, region: 5, offset: offset, width: width, value)
    let data = (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    let body = RegionAccess(region: 5, offset: offset, data: data).encoded
    let header = Header(
      id: 0xFEDC, command: Command.regionWrite.rawValue, kind: .command, bodySize: body.count,
      wantsNoReply: true)
    let expected = header.message(body)
    #expect(write.size == expected.count && write.bytes(from: 0) == expected)
    #expect(write.bytes(from: 19) == Array(expected[19...]))
    let (reader, writer) = try MessageSocket.makePair()
    let ends = [
      SharedDescriptor(OwnedDescriptor(owning: reader)), SharedDescriptor(OwnedDescriptor(owning: writer)),
    ]
    try withExtendedLifetime(ends) {
      #expect(
        try write.withBytes { bytes throws(KernelError) in try MessageSocket.send(bytes, to: writer) }
          == expected.count)
      guard case .bytes(let received, nil) = try MessageSocket.receive(upTo: 64, from: reader) else {
        Issue.record("no bytes")
        return
      }
      #expect(received == expected)
    }
  }

  private static let required = PostedWrites.requiredReplies
  private static let interval = PostedWrites.interval

  @Test("writes are posted after enough replies without a command, and one of 128 waits")
  func quiet() throws {
    let (log, memory) = (Log(), try TestMemory())
    let server = try Self.server(log)
    let connection = try Connection(server.takeSocket(), name: "test", memory: memory.handler)
    try connection.map(memory.range)
    try Self.write(Self.required + 2 * Self.interval, connection)
    let writes = log.all(Self.required + 2 * Self.interval)
    #expect(writes.prefix(Self.required).allSatisfy { !$0 })
    let rest = Array(writes.dropFirst(Self.required))
    #expect(rest.count { !$0 } == 2 && !rest[Self.interval - 1] && !rest[2 * Self.interval - 1])
    // Other writes wait always.
    try connection.write(7, offset: 4, width: 2, 6)
    #expect(log.all(writes.count + 1).last == false)
  }

  @Test("without mapped memory, replies show nothing, and all writes wait")
  func unmapped() throws {
    let log = Log()
    let server = try Self.server(log)
    let connection = try Connection(server.takeSocket(), name: "test", memory: try TestMemory().handler)
    try Self.write(2 * Self.required, connection)
    #expect(log.all(2 * Self.required).allSatisfy { !$0 })
  }

  @Test("after a command of the server on the first socket, all writes wait", arguments: [1, 64, 192])
  func command(_ number: Int) throws {
    let (log, memory) = (Log(), try TestMemory())
    let server = try Self.server(log, commandAt: number)
    let connection = try Connection(server.takeSocket(), name: "test", memory: memory.handler)
    try connection.map(memory.range)
    try Self.write(5 * Self.required, connection)
    let writes = log.all(5 * Self.required)
    #expect(writes.dropFirst(number).allSatisfy { !$0 })
    #expect(connection.failure == nil)
  }

  @Test("with a second socket, the first writes are posted")
  func twin() throws {
    let log = Log()
    let (own, other) = try MessageSocket.makePair()
    let (second, client) = (
      Channel(OwnedDescriptor(owning: own)), SharedDescriptor(OwnedDescriptor(owning: other))
    )
    let server = try Self.server(log, twin: client.number)
    let connection = try Connection(server.takeSocket(), name: "test", memory: try TestMemory().handler)
    try Self.write(Self.interval, connection)
    let writes = log.all(Self.interval)
    #expect(writes.dropLast().allSatisfy(\.self) && writes.last == false)
    withExtendedLifetime((second, client)) {}
  }
}
