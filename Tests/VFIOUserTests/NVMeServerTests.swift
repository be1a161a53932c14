// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Linux
import Synchronization
import TestTools
import Testing

@testable import VFIOUser

/// A connection to the server of an NVMe controller.
@Suite struct NVMeServerTests {
  /// An image of zeros that is removed at the end of its owner's life.
  private final class Image {
    static let size = 4 << 20
    let path = FileManager.default.temporaryDirectory.appending(path: "nvme-\(UUID().uuidString)").path

    init() throws { try Data(count: Self.size).write(to: URL(filePath: path)) }

    deinit {
      // A failure only leaves a file behind.
      for file in [path, socket] { try? FileManager.default.removeItem(atPath: file) }
    }

    /// A path for a socket that several servers use in turn.
    var socket: String { path + ".socket" }
    var arguments: [String] { ["--image", path] }
    var bytes: Data { get throws { try Data(contentsOf: URL(filePath: path)) } }
  }

  private static func pattern(_ seed: UInt64, _ count: Int) -> [UInt8] {
    var generator = SeededGenerator(state: seed)
    return generator.bytes(count)
  }

  @Test("the controller identifies itself, and becomes ready and not ready by CC.EN")
  func identity() throws {
    let image = try Image()
    let server = try ServerProcess(.nvme, image.arguments)
    let client = try Client(try server.connect())
    let driver = try NVMeDriver(client)
    var admin = try driver.queues(8).admin
    let controller = try admin.identify(1)
    #expect(controller[512] == 0x66 && controller[513] == 0x44 && controller[516] == 1)
    let namespace = try admin.identify(0, namespace: 1)
    #expect(namespace[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) } == Image.size / 512)
    #expect(namespace[130] == 9)
    #expect(try admin.identify(2)[0] == 1)
    #expect(try admin.run(9, words: [7, 0xFFFF_FFFF]) == 0x0007_0007)
    #expect(throws: NVMeDriver.Failure.self) { try admin.run(0x7F) }
    // CSTS.RDY follows CC.EN.
    try client.connection.write(0, offset: 0x14, width: 4, 0)
    #expect(try client.connection.read(0, offset: 0x1C, width: 4) == 0)
    #expect(try client.connection.read(0, offset: 0, width: 4) == 0x1401_03FF)
  }

  @Test(
    "blocks survive the queues, with memory by descriptor and by messages",
    arguments: [
      [], ["--messages"], ["--messages", "--synchronous", "--twin-socket"], ["--mapped-doorbells"],
    ])
  func blocks(_ arguments: [String]) throws {
    let image = try Image()
    let server = try ServerProcess(.nvme, image.arguments + arguments)
    let client = try Client(try server.connect())
    var queue = try #require(try NVMeDriver(client).queues(1).io.first)
    for (block, size) in [
      (0, 512), (3, 4096), (100, 8192), (1000, 65536), (UInt64(Image.size / 512) - 1, 512),
    ] {
      let bytes = Self.pattern(block + 1, size)
      try queue.write(block, bytes)
      #expect(try queue.read(block, size) == bytes)
      #expect(try image.bytes[Int(block) * 512..<Int(block) * 512 + size].elementsEqual(bytes))
    }
    try queue.flush()
    #expect(throws: NVMeDriver.Failure.self) { _ = try queue.read(UInt64(Image.size / 512), 512) }
  }

  @Test("eventfds are set in batches of the negotiated number of descriptors", arguments: [1, 4, 8, 16])
  func batches(_ most: Int) throws {
    let image = try Image()
    let server = try ServerProcess(.nvme, image.arguments + ["--descriptors", "\(most)"])
    var configuration = Connection.Configuration()
    configuration.capabilities.messageDescriptors = 16
    let client = try Client(try server.connect(), configuration)
    #expect(client.connection.descriptorLimit == most)
    let events = try (0..<9).map { _ in try SharedEventFD() }
    try client.connection.setTriggers(2, start: 0, events: events.map(\.number))
    for vector in 0..<9 {
      try client.connection.signal(2, start: UInt32(vector), count: 1)
      #expect(try events.map { try $0.take() } == (0..<9).map { $0 == vector ? 1 : 0 })
    }
    var queues = try NVMeDriver(client).queues(3).io
    for event in events { _ = try event.take() }
    for index in queues.indices { try queues[index].flush() }
    #expect(try events.map { try $0.take() } == [0, 1, 1, 1, 0, 0, 0, 0, 0])
  }

  /// Counts the failures of several threads.
  private final class Failures: Sendable {
    let texts = Mutex<[String]>([])
  }

  @Test(
    "four threads ring doorbells at once while the server reads and writes memory by messages before it replies",
    arguments: [nil, 1, 4, 8] as [Int?], [false, true])
  func concurrent(_ requests: Int?, _ hasTwin: Bool) throws {
    let image = try Image()
    let server = try ServerProcess(
      .nvme, image.arguments + ["--messages", "--synchronous"] + (hasTwin ? ["--twin-socket"] : []))
    var configuration = Connection.Configuration()
    configuration.requests = requests
    let client = try Client(try server.connect(), configuration)
    let queues = try NVMeDriver(client).queues(4).io
    let failures = Failures()
    try Linux.Thread.concurrentForEach(4, name: "vcpu") { index in
      var queue = queues[index]
      for round in 0..<50 {
        let bytes = Self.pattern(UInt64(index * 1000 + round), 4096)
        let block = UInt64(index * 1024 + round * 8)
        do {
          try queue.write(block, bytes)
          if try queue.read(block, 4096) != bytes { throw NVMeDriver.Failure(description: "other bytes") }
        } catch {
          failures.texts.withLock { $0.append("thread \(index), round \(round): \(error)") }
          return
        }
      }
    }
    #expect(failures.texts.withLock { $0 } == [])
    #expect(client.connection.failure == nil)
  }

  @Test("kill -9, a restart and a new connection keep flushed data")
  func reconnect() throws {
    let image = try Image()
    var server = try ServerProcess(.nvme, image.arguments, path: image.socket)
    for round in 0..<4 {
      let client = try Client(try server.connect())
      var queue = try #require(try NVMeDriver(client).queues(1).io.first)
      for earlier in 0..<round {
        #expect(try queue.read(UInt64(earlier * 64), 32768) == Self.pattern(UInt64(earlier), 32768))
      }
      try queue.write(UInt64(round * 64), Self.pattern(UInt64(round), 32768))
      try queue.flush()
      server.send(SIGKILL)
      #expect(server.wait() == 128 + SIGKILL)
      #expect(throws: ConnectionError("test", .ended)) { _ = try client.connection.deviceInfo() }
      server = try ServerProcess(.nvme, image.arguments, path: image.socket)
    }
  }

  @Test("SIGTERM during use ends the server with status 0, and keeps the data")
  func terminate() throws {
    let image = try Image()
    let server = try ServerProcess(.nvme, image.arguments)
    let client = try Client(try server.connect())
    var queue = try #require(try NVMeDriver(client).queues(1).io.first)
    try queue.write(8, Self.pattern(8, 4096))
    server.send(SIGTERM)
    #expect(server.wait() == 0)
    #expect(try image.bytes[8 * 512..<8 * 512 + 4096].elementsEqual(Self.pattern(8, 4096)))
    #expect(throws: ConnectionError("test", .ended)) { _ = try client.connection.deviceInfo() }
  }
}
