// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import Testing

@testable import VFIOUser

/// A connection to a server that breaks the protocol.
@Suite struct ConnectionTests {
  typealias Answer = ScriptedServer.Answer

  /// The default is longer than a busy machine needs.
  private static func configuration(_ deadline: Int32 = 5000) -> Connection.Configuration {
    var configuration = Connection.Configuration()
    configuration.deadline = deadline
    return configuration
  }

  /// Connects. The connection has no reader thread.
  private static func connect(
    _ server: ScriptedServer, _ configuration: Connection.Configuration = configuration()
  ) throws -> Connection {
    try Connection(
      server.takeSocket(), name: "test", configuration: configuration, memory: try TestMemory().handler)
  }

  private static func access(_ data: [UInt8], region: UInt32 = 7, offset: UInt64 = 0) -> [UInt8] {
    RegionAccess(region: region, offset: offset, data: data).encoded
  }

  /// An answer to a read of 4 bytes of configuration space, and the fault that it causes.
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let answer: @Sendable (Header) -> Answer
    let fault: ConnectionFault

    /// The deadline in milliseconds.
    var deadline: Int32 { if case .late(_, let milliseconds) = fault { milliseconds } else { 5000 } }
  }

  static let cases: [Case] = [
    Case(
      testDescription: "another ID",
      answer: { .reply(to: $0, access([1, 2, 3, 4]), id: 77) }, fault: .unknownReply(id: 77)),
    Case(
      testDescription: "another command",
      answer: { .reply(to: $0, access([1, 2, 3, 4]), number: 10) },
      fault: .wrongCommand(10, expected: .regionRead)),
    Case(
      testDescription: "fewer bytes than were asked for",
      answer: { .reply(to: $0, RegionAccess(region: 7, offset: 0, data: [1, 2]).encoded) },
      fault: .malformed(MessageError("REGION_READ", .value("count", 2)))),
    Case(
      testDescription: "a count without bytes",
      answer: { .reply(to: $0, RegionAccess(region: 7, offset: 0, count: 4).encoded) },
      fault: .malformed(MessageError("REGION_READ", .size(0, expected: 4...4)))),
    Case(
      testDescription: "another offset",
      answer: { .reply(to: $0, access([1, 2, 3, 4], offset: 4)) },
      fault: .malformed(MessageError("REGION_READ", .value("offset", 4)))),
    Case(
      testDescription: "another region",
      answer: { .reply(to: $0, access([1, 2, 3, 4], region: 0)) },
      fault: .malformed(MessageError("REGION_READ", .value("region", 0)))),
    Case(
      testDescription: "no body",
      answer: { .reply(to: $0, []) },
      fault: .malformed(MessageError("region access", .size(0, expected: 8...Int.max)))),
    Case(
      testDescription: "an error with a descriptor",
      answer: { .reply(to: $0, [], errno: 5, descriptors: [2]) },
      fault: .malformed(MessageError("REGION_READ", .descriptors(1, expected: 0)))),
    Case(
      testDescription: "a message that is too large",
      answer: { header in
        var header = header
        header.size = 1 << 30
        return Answer(bytes: header.encoded)
      },
      fault: .malformed(MessageError("REGION_READ", .size(1 << 30, expected: 16...16 + 16 + 1 << 20)))),
    Case(
      testDescription: "another type",
      answer: { _ in Answer(bytes: [1, 0, 9, 0, 16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]) },
      fault: .malformed(MessageError("header", .value("type", 7)))),
    Case(
      testDescription: "a command of a client",
      answer: { _ in .command(.deviceReset, []) }, fault: .unexpectedCommand(13)),
    Case(
      testDescription: "an unknown command",
      answer: { _ in Answer(bytes: Header(id: 1, command: 99, kind: .command, bodySize: 0).encoded) },
      fault: .unexpectedCommand(99)),
    Case(
      testDescription: "a DMA command with a wrong size",
      answer: { _ in .command(.dmaWrite, DMATransfer(IOVARange(address: 0, size: 8)).encoded) },
      fault: .malformed(MessageError("DMA_WRITE", .size(0, expected: 8...8)))),
    Case(
      testDescription: "a descriptor",
      answer: { .reply(to: $0, access([1, 2, 3, 4]), descriptors: [2]) },
      fault: .malformed(MessageError("REGION_READ", .descriptors(1, expected: 0)))),
    Case(
      testDescription: "nothing", answer: { _ in .silence }, fault: .late(.regionRead, milliseconds: 100)),
    Case(
      testDescription: "a part of a message",
      answer: { Answer(bytes: Array(Answer.reply(to: $0, access([1, 2, 3, 4])).bytes.dropLast())) },
      fault: .late(.regionRead, milliseconds: 100)),
  ]

  @Test(
    "a reply that breaks the protocol ends the connection with one error", arguments: cases, [false, true])
  func faults(_ one: Case, _ hasReader: Bool) throws {
    let server = try ScriptedServer { one.answer($0.header) }
    let connection = try Self.connect(server, Self.configuration(one.deadline))
    let reader = try hasReader ? Linux.Thread(name: "reader") { connection.serve() } : nil
    defer { reader?.join() }
    let error = ConnectionError("test", one.fault)
    #expect(throws: error) { _ = try connection.read(7, offset: 0, width: 4) }
    #expect(throws: error) { try connection.reset() }
    #expect(connection.failure == error)
    #expect(try MessageSocket.waitForInput([connection.endEvent], milliseconds: 0) == 1)
    connection.close()
    #expect(connection.failure == error)
  }

  @Test("an error reply has the server's error number and keeps the connection")
  func refused() throws {
    let server = try ScriptedServer { message in
      message.header.command == Command.deviceReset.rawValue
        // libvfio-user's server sends a body with some errors.
        ? .reply(to: message.header, []) : .reply(to: message.header, message.body, errno: 22)
    }
    let connection = try Self.connect(server)
    #expect(throws: ConnectionError("test", .refused(.regionRead, errno: 22))) {
      _ = try connection.read(7, offset: 0, width: 4)
    }
    let error = ConnectionError("test", .refused(.regionRead, errno: 22))
    #expect(error.description == "vfio-user test: REGION_READ: refused: Invalid argument")
    #expect(error.cause.errno == 22 && !error.cause.endsConnection)
    try connection.reset()
    #expect(connection.failure == nil)
  }

  @Test("a late reply is no reply to the next request")
  func late() throws {
    let server = try ScriptedServer { _ in .silence }
    let connection = try Self.connect(server, Self.configuration(10))
    let start = Clock.microseconds()
    #expect(throws: ConnectionError("test", .late(.regionRead, milliseconds: 10))) {
      _ = try connection.read(7, offset: 0, width: 4)
    }
    #expect(Clock.microseconds() - start < 500_000)
    try? server.send(Answer.reply(to: Header(id: 1, command: 9, kind: .command, bodySize: 0), []).bytes)
    #expect(throws: ConnectionError("test", .late(.regionRead, milliseconds: 10))) { try connection.reset() }
  }

  @Test("a reset has its own deadline")
  func quietDeadline() throws {
    let server = try ScriptedServer { _ in .silence }
    var configuration = Self.configuration(10_000)
    configuration.quietDeadline = 20
    let connection = try Self.connect(server, configuration)
    #expect(throws: ConnectionError("test", .late(.deviceReset, milliseconds: 20))) { try connection.reset() }
  }

  @Test("every thread that waits has the error when the server ends the connection")
  func endWhileWaiting() throws {
    let server = try ScriptedServer { _ in .silence }
    var configuration = Self.configuration(10_000)
    configuration.requests = 4
    let connection = try Self.connect(server, configuration)
    let reader = try Linux.Thread(name: "reader") { connection.serve() }
    let closer = try Linux.Thread(name: "closer") {
      _ = try? MessageSocket.waitForInput([], milliseconds: 50)
      server.close()
    }
    // Six threads share four slots.
    try Linux.Thread.concurrentForEach(6, name: "vcpu") { _ in
      #expect(throws: ConnectionError("test", .ended)) { _ = try connection.read(7, offset: 0, width: 4) }
    }
    reader.join()
    closer.join()
  }

  @Test("a server with another major version, an error or an invalid text is refused")
  func version() throws {
    let answers: [(@Sendable (Header) -> Answer, ConnectionFault)] = [
      ({ .reply(to: $0, Version(major: 1).encoded) }, .version(1)),
      ({ .reply(to: $0, [], errno: 93) }, .refused(.version, errno: 93)),
      ({ .reply(to: $0, [0, 0, 1, 0, 1, 0]) }, .malformed(MessageError("VERSION", .text))),
      ({ .reply(to: $0, Version().encoded, id: 9) }, .unknownReply(id: 9)),
      ({ .reply(to: $0, Version().encoded, number: 4) }, .wrongCommand(4, expected: .version)),
      (
        { .reply(to: $0, Version().encoded, descriptors: [2]) },
        .malformed(MessageError("VERSION", .descriptors(1, expected: 0)))
      ),
      (
        { _ in .command(.dmaRead, DMATransfer(IOVARange(address: 0, size: 1)).encoded) },
        .unexpectedCommand(11)
      ),
      ({ _ in .silence }, .late(.version, milliseconds: 100)),
    ]
    for (answer, fault) in answers {
      let server = try ScriptedServer(version: answer) { _ in .silence }
      let configuration = Self.configuration(fault == .late(.version, milliseconds: 100) ? 100 : 5000)
      #expect(throws: ConnectionError("test", fault)) { _ = try Self.connect(server, configuration) }
    }
  }

  @Test("a region whose capabilities do not fit is requested again")
  func largeRegionInfo() throws {
    let areas = (0..<100).map { RegionInfo.Area(offset: $0 * 8192, size: 4096) }
    let info = RegionInfo(flags: [.read, .mappable], index: 2, regionSize: 1 << 20, areas: areas)
    let server = try ScriptedServer { message in
      guard let request = try? RegionInfoRequest(parsing: message.body[...]) else { return .silence }
      let isWhole = Int(request.argumentSize) >= info.encoded.count
      return .reply(to: message.header, isWhole ? info.encoded : info.encodedWithoutCapabilities)
    }
    let connection = try Self.connect(server)
    #expect(try connection.regionInfo(2).info == info)
    #expect(
      throws: ConnectionError("test", .malformed(MessageError("DEVICE_GET_REGION_INFO", .value("index", 2))))
    ) {
      _ = try connection.regionInfo(1)
    }
  }
}
