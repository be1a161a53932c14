// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Linux
import TestTools
import Testing

@testable import VFIOUser

/// A connection to a server that injects faults. VERSION is message 1, and DMA_MAP is message 2.
@Suite struct FaultTests {
  private static func configuration(_ deadline: Int32) -> Connection.Configuration {
    var configuration = Connection.Configuration()
    configuration.deadline = deadline
    configuration.quietDeadline = deadline
    return configuration
  }

  private static func client(_ server: ServerProcess, deadline: Int32 = 5000) throws -> Client {
    try Client(try server.connect(), configuration(deadline))
  }

  private static func server(_ faults: String, _ arguments: [String] = []) throws -> ServerProcess {
    try ServerProcess(.edu, arguments, faults: faults)
  }

  @Test(
    "a faulty reply ends the connection, and the next connection works",
    arguments: [
      ("short", .malformed(MessageError("region access", .size(3, expected: 4...4)))),
      ("wrong-id", .unknownReply(id: 0x8002)), ("late 1200", .late(.regionRead, milliseconds: 400)),
      ("hang", .late(.regionRead, milliseconds: 400)), ("crash", .ended),
    ] as [(String, ConnectionFault)])
  func replies(_ fault: String, _ cause: ConnectionFault) throws {
    let server = try Self.server("at 3: \(fault)")
    let client = try Self.client(
      server, deadline: cause == .late(.regionRead, milliseconds: 400) ? 400 : 5000)
    let error = ConnectionError("test", cause)
    #expect(throws: error) { _ = try client.connection.read(7, offset: 0, width: 4) }
    #expect(throws: error) { _ = try client.connection.read(7, offset: 0, width: 4) }
    if fault == "crash" {
      #expect(server.wait() == 70)
      let second = try ServerProcess(.edu, path: server.path)
      let next = try Self.client(second)
      #expect(try next.connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
    } else if fault != "hang" {
      let next = try Self.client(server)
      #expect(try next.connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
    }
  }

  @Test("a reply that arrives twice ends the connection after the first")
  func duplicate() throws {
    let server = try Self.server("at 3: duplicate")
    let client = try Self.client(server)
    #expect(try client.connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
    #expect(throws: ConnectionError("test", .unknownReply(id: 2))) {
      for _ in 0..<100 { _ = try client.connection.read(7, offset: 0, width: 4) }
    }
  }

  @Test("an error reply concerns one request")
  func error() throws {
    let server = try Self.server("at 3: error 5\nat 4: late 20")
    let client = try Self.client(server)
    #expect(throws: ConnectionError("test", .refused(.regionRead, errno: 5))) {
      _ = try client.connection.read(7, offset: 0, width: 4)
    }
    #expect(try client.connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
  }

  @Test("configuration space reads as all-ones until a reset")
  func allOnes() throws {
    let server = try Self.server("at 3: all-ones")
    let client = try Self.client(server)
    for _ in 0..<2 { #expect(try client.connection.read(7, offset: 0, width: 4) == 0xFFFF_FFFF) }
    #expect(try client.connection.read(0, offset: 0, width: 4) == 0x0100_00ED)
    try client.connection.reset()
    #expect(try client.connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
  }

  @Test("interrupts are lost, doubled and early")
  func interrupts() throws {
    // Message 3 sets the eventfd. Messages 4 to 7 raise an interrupt.
    let server = try Self.server("at 5: lost-interrupt\nat 6: doubled-interrupt\nat 8: early-interrupt")
    let client = try Self.client(server)
    let event = try EventFD()
    try client.connection.setTriggers(2, start: 0, events: [event.number])
    for count in [1, 0, 2, 1] as [UInt64] {
      try client.connection.write(0, offset: 0x60, width: 4, 1)
      #expect(try event.take() == count)
    }
    #expect(try client.connection.read(0, offset: 0, width: 4) == 0x0100_00ED)
    #expect(try event.take() == 1)
  }

  @Test(
    "DMA outside RAM is refused and counted, and the server continues", arguments: [[], ["--twin-socket"]])
  func strayDMA(_ arguments: [String]) throws {
    let server = try Self.server("at 3: stray-dma", arguments)
    let client = try Self.client(server)
    #expect(try client.connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
    #expect(client.connection.refusedTransfers == 2)
    #expect(client.connection.failure == nil)
  }

  @Test("a BAR that stops responding ends the connection by the deadline")
  func deadBAR() throws {
    let server = try Self.server("at 4: dead-bar 0")
    let client = try Self.client(server, deadline: 400)
    #expect(try client.connection.read(0, offset: 0, width: 4) == 0x0100_00ED)
    #expect(try client.connection.read(2, offset: 0, width: 4) == 0)
    let start = Clock.microseconds()
    #expect(throws: ConnectionError("test", .late(.regionRead, milliseconds: 400))) {
      _ = try client.connection.read(0, offset: 0, width: 4)
    }
    #expect(400_000..<3_000_000 ~= Clock.microseconds() - start)
  }

  /// Performs a random request. Its result is ignored.
  private static func request(_ client: Client, _ generator: inout SeededGenerator) throws {
    let connection = client.connection
    switch generator.next() % 6 {
    case 0: _ = try connection.read(7, offset: generator.next() % 256, width: 1)
    case 1: try connection.write(2, offset: generator.next() % 65528, width: 8, generator.next())
    case 2: _ = try connection.regionInfo(UInt32(generator.next() % 9))
    case 3: _ = try connection.irqInfo(UInt32(generator.next() % 5))
    case 4: try connection.write(0, offset: 0x60, width: 4, 1)
    default: try connection.reset()
    }
  }

  @Test("requests to a faulty server end by the deadline of 10 ms, and the client reconnects")
  func seeded() throws {
    let faults = """
      rate 0.02: late 30
      rate 0.02: short
      rate 0.02: wrong-id
      rate 0.02: error
      rate 0.02: duplicate
      rate 0.02: all-ones
      rate 0.02: stray-dma
      rate 0.02: early-interrupt
      rate 0.02: lost-interrupt
      """
    let server = try ServerProcess(.edu, ["--seed", "17"], faults: faults)
    var generator = SeededGenerator(state: 17)
    var client: Client?
    var (requests, connections) = (0, 0)
    var longest: Int64 = 0
    let end = Clock.microseconds() + 60_000 * Int64(FuzzLength.requests)
    while requests < FuzzLength.requests, Clock.microseconds() < end {
      if client?.connection.failure != nil { client = nil }
      guard let present = client else {
        // The server may inject a fault into VERSION, too.
        client = try? Self.client(server, deadline: 10)
        connections += 1
        continue
      }
      let start = Clock.microseconds()
      // The errors of the plan are expected.
      try? Self.request(present, &generator)
      longest = max(longest, Clock.microseconds() - start)
      requests += 1
    }
    #expect(requests == FuzzLength.requests)
    #expect(connections > requests / 100)
    // The deadline, and the time until this thread runs again.
    #expect(longest < 1_000_000)
    #expect(server.isRunning)
  }
}
