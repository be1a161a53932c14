// SPDX-License-Identifier: Apache-2.0

import Fakes
import Linux
import Synchronization
import Testing

@testable import VFIOUser

/// Random messages to the client. The seed makes a failure reproducible.
@Suite struct ClientFuzzTests {
  /// Returns the valid reply to a command.
  private static func reply(_ message: Message) -> [UInt8] {
    let body = message.body[...]
    switch Command(rawValue: message.header.command) {
    case .deviceInfo: return DeviceInfo(flags: [.pci], regions: 9, interrupts: 5).encoded
    case .regionInfo:
      let areas = (0..<4).map { RegionInfo.Area(offset: $0 * 8192, size: 4096) }
      guard let request = try? RegionInfoRequest(parsing: body) else { return [] }
      return RegionInfo(flags: [.mappable], index: request.index, regionSize: 1 << 20, areas: areas).encoded
    case .irqInfo: return message.body
    case .regionRead:
      guard let access = try? RegionAccess(parsing: body) else { return [] }
      let data = [UInt8](repeating: 7, count: Int(access.count))
      return RegionAccess(region: access.region, offset: access.offset, data: data).encoded
    case .regionWrite: return Array(message.body.prefix(16))
    case .dmaUnmap: return message.body
    default: return []
    }
  }

  /// Returns the bytes that the server sends for a command: a reply that may be changed, and before it commands and
  /// replies that belong to no request.
  private static func answer(_ message: Message, _ generator: inout SeededGenerator) -> [UInt8] {
    var bytes: [UInt8] = []
    if generator.next() % 4 == 0 {
      let transfer = generator.dmaTransfer().encoded
      let command = generator.next() % 2 == 0 ? Command.dmaRead : .dmaWrite
      bytes +=
        Header(id: 1, command: command.rawValue, kind: .command, bodySize: transfer.count).encoded + transfer
    }
    if generator.next() % 16 == 0 { bytes += generator.header().encoded }
    let body = reply(message)
    bytes +=
      Header(id: message.header.id, command: message.header.command, kind: .reply, bodySize: body.count)
      .encoded
      + body
    for _ in 0..<generator.next() % 3 where generator.next() % 2 == 0 {
      bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
    }
    if generator.next() % 16 == 0 { bytes.removeLast(Int(generator.next() % UInt64(bytes.count))) }
    return bytes
  }

  private static func request(_ connection: Connection, _ memory: TestMemory, _ kind: UInt64) throws {
    switch kind {
    case 0: _ = try connection.deviceInfo()
    case 1: _ = try connection.regionInfo(2)
    case 2: _ = try connection.irqInfo(2)
    case 3: _ = try connection.read(7, offset: 64, count: 16)
    case 4: try connection.write(0, offset: 8, width: 4, 9, isPosted: true)
    case 5: try connection.unmap(memory.range)
    case 6: try connection.map(memory.range)
    default: try connection.reset()
    }
  }

  @Test("random replies and commands end requests by the deadline", arguments: [1, 2, 3] as [UInt64])
  func fuzz(_ seed: UInt64) throws {
    let loop = try FuzzLoop(parts: 3)
    try loop.run { thread in
      try Self.run(loop, FuzzLength.seed + seed + UInt64(thread) << 32)
    }
  }

  /// A request that did not end in time. The time is in microseconds.
  private struct LateRequest: Error { let time: Int64 }

  /// Runs rounds of requests to servers.
  private static func run(_ loop: FuzzLoop, _ seed: UInt64) throws {
    let shared = SharedGenerator(seed)
    var generator = SeededGenerator(state: seed)
    while try loop.next() {
      let server = try ScriptedServer { message in
        ScriptedServer.Answer(bytes: shared.use { answer(message, &$0) })
      }
      var configuration = Connection.Configuration()
      (configuration.deadline, configuration.quietDeadline) = (2, 2)
      let memory = try TestMemory()
      guard
        let connection = try? Connection(
          server.takeSocket(), name: "test", configuration: configuration, memory: memory.handler)
      else { continue }
      // The errors are expected.
      try? connection.map(memory.range)
      while connection.failure == nil {
        let start = Clock.microseconds()
        try? request(connection, memory, generator.next() % 8)
        let time = Clock.microseconds() - start
        // The deadline, and the time until this thread runs again.
        guard time < (FuzzLength.seconds == nil ? 2_000_000 : 5_000_000) else {
          throw LateRequest(time: time)
        }
      }
    }
  }

  /// A generator for the threads of the servers.
  private final class SharedGenerator: Sendable {
    private let generator: Mutex<SeededGenerator>

    init(_ seed: UInt64) { generator = Mutex(SeededGenerator(state: seed)) }

    func use(_ body: (inout SeededGenerator) -> [UInt8]) -> [UInt8] { generator.withLock { body(&$0) } }
  }
}
