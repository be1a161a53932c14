// SPDX-License-Identifier: Apache-2.0

import CLinux
import Fakes
import Foundation
import Linux
import TestTools
import Testing

@testable import VFIOUser

/// Random messages to the servers. The seed makes a failure reproducible.
@Suite struct ServerFuzzTests {
  /// Returns a message with a valid header and a body that is valid, changed or random.
  private static func message(_ generator: inout SeededGenerator) -> [UInt8] {
    let command = Command.allCases[Int(generator.next() % UInt64(Command.allCases.count))]
    var body: [UInt8]
    switch command {
    case .version: body = generator.version().encoded
    case .dmaMap: body = generator.dmaMap().encoded
    case .dmaUnmap: body = generator.dmaUnmap().encoded
    case .deviceInfo: body = DeviceInfo().encoded
    case .regionInfo: body = RegionInfoRequest(index: UInt32(generator.next() % 10)).encoded
    case .irqInfo: body = IRQInfo(index: UInt32(generator.next() % 6)).encoded
    case .setIRQs: body = generator.irqSet().encoded
    case .regionRead, .regionWrite:
      // Most accesses are within a region.
      let offset = generator.next() % 4 == 0 ? generator.next() : generator.next() % 0x2100
      let (region, count) = (UInt32(generator.next() % 9), Int(1 << (generator.next() % 4)))
      body =
        command == .regionRead
        ? RegionAccess(region: region, offset: offset & ~7, count: UInt32(count)).encoded
        : RegionAccess(region: region, offset: offset & ~7, data: generator.bytes(count)).encoded
    case .dmaRead, .dmaWrite, .deviceReset: body = []
    }
    if generator.next() % 4 == 0, !body.isEmpty {
      body[Int(generator.next() % UInt64(body.count))] = UInt8(truncatingIfNeeded: generator.next())
    }
    if generator.next() % 16 == 0 { body += generator.bytes(Int(generator.next() % 32)) }
    var header = Header(
      id: UInt16(truncatingIfNeeded: generator.next()), command: command.rawValue, kind: .command,
      bodySize: body.count, wantsNoReply: generator.next() % 8 == 0)
    if generator.next() % 64 == 0 { header.size = UInt32(truncatingIfNeeded: generator.next()) }
    return header.encoded + body
  }

  @Test(
    "random messages and descriptors do not end a server", arguments: [1, 2] as [UInt64],
    [ServerProgram.edu, .nvme])
  func fuzz(_ seed: UInt64, _ program: ServerProgram) throws {
    let image = FileManager.default.temporaryDirectory.appending(path: "fuzz-\(UUID().uuidString)").path
    try Data(count: 1 << 16).write(to: URL(filePath: image))
    defer { try? FileManager.default.removeItem(atPath: image) }  // a failure only leaves a file behind
    let servers = try (0..<FuzzLoop.threads).map { _ in
      try ServerProcess(
        program, program == .nvme ? ["--image", image, "--mapped-doorbells"] : [], isQuiet: true)
    }
    let loop = try FuzzLoop(parts: 4, servers: servers)
    try loop.run { try Self.run(loop, servers[$0], FuzzLength.seed + seed + UInt64($0) << 32) }
    for server in servers {
      #expect(server.isRunning)
      let client = try Client(try server.connect())
      #expect(
        try client.connection.read(7, offset: 0, width: 2) == (program == .edu ? 0x1234 : 0x1B36))
    }
  }

  /// Runs rounds of messages to a server.
  private static func run(_ loop: FuzzLoop, _ server: ServerProcess, _ seed: UInt64) throws {
    var generator = SeededGenerator(state: seed)
    let memory = try TestMemory()
    let event = try EventFD()
    let descriptors = [
      memory.number, event.number, 2, try OwnedDescriptor(opening: "/dev/null", .read).release(),
    ]
    defer { _ = cl_close(descriptors[3]) }
    while try loop.next() {
      let socket = try server.connect()
      let hello = Version().encoded
      var batch = Header(id: 0, command: 1, kind: .command, bodySize: hello.count).encoded + hello
      for _ in 0..<generator.next() % 60 {
        let passed = generator.next() % 3 == 0 ? descriptors.prefix(Int(1 + generator.next() % 4)) : []
        // The server may have closed the connection.
        guard (try? MessageSocket.send(batch[...], descriptors: Array(passed), to: socket.number)) != nil
        else {
          break
        }
        // Discards the replies.
        _ = try? MessageSocket.receive(upTo: 1 << 16, from: socket.number)
        batch = message(&generator)
      }
    }
  }
}
