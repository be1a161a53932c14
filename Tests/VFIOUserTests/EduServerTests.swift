// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import TestTools
import Testing

@testable import VFIOUser

/// A connection to the server of an edu-like device.
@Suite struct EduServerTests {
  private static let dmaSource: UInt64 = 0x80
  private static let dmaDestination: UInt64 = 0x88
  private static let dmaCount: UInt64 = 0x90
  private static let dmaCommand: UInt64 = 0x98
  private static let buffer: UInt64 = 0x40000

  /// Copies bytes from memory to the device's buffer, and from there to memory 4 KiB later.
  private static func copy(_ client: Client, _ count: Int) throws -> [UInt8]? {
    let (connection, address) = (client.connection, client.memory.range.address)
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
    client.memory.write(address, bytes)
    client.memory.write(address + 4096, [UInt8](repeating: 0, count: count))
    try connection.write(0, offset: dmaCount, width: 8, UInt64(count))
    try connection.write(0, offset: dmaSource, width: 8, address)
    try connection.write(0, offset: dmaDestination, width: 8, buffer)
    try connection.write(0, offset: dmaCommand, width: 8, 1)
    try connection.write(0, offset: dmaSource, width: 8, buffer)
    try connection.write(0, offset: dmaDestination, width: 8, address + 4096)
    try connection.write(0, offset: dmaCommand, width: 8, 3)
    return client.memory.read(address + 4096, count) == bytes ? bytes : nil
  }

  @Test("the properties of the device are read before there is a reader")
  func properties() throws {
    let server = try ServerProcess(.edu)
    let memory = try TestMemory()
    let connection = try Connection(try server.connect(), name: server.path, memory: memory.handler)
    let info = try connection.deviceInfo()
    #expect(info == DeviceInfo(flags: [.reset, .pci], regions: 9, interrupts: 5))
    #expect(try (0..<5).map { try connection.irqInfo($0).count } == [1, 1, 4, 0, 0])
    #expect(try connection.irqInfo(0).flags == [.eventfd, .maskable, .automasked])
    let sizes = try (0..<9).map { try connection.regionInfo($0).info.regionSize }
    #expect(sizes == [1 << 20, 0, 1 << 16, 0, 8192, 0, 2048, 4096, 0])
    #expect(try connection.read(7, offset: 0, width: 4) == 0x11E8_1234)
    #expect(throws: ConnectionError(server.path, .refused(.regionInfo, errno: UInt32(EINVAL)))) {
      _ = try connection.regionInfo(9)
    }
    #expect(connection.failure == nil)
    connection.close()
    #expect(throws: ConnectionError(server.path, .closed)) { _ = try connection.deviceInfo() }
  }

  @Test("the reply to VERSION has the lower of both minor versions", arguments: [0, 1, 7] as [UInt16])
  func version(_ minor: UInt16) throws {
    let server = try ServerProcess(.edu)
    let socket = try server.connect()
    let body = Version(minor: minor).encoded
    let header = Header(id: 0, command: Command.version.rawValue, kind: .command, bodySize: body.count)
    _ = try MessageSocket.send((header.encoded + body)[...], descriptors: [], to: socket.number)
    _ = try MessageSocket.waitForInput([socket.number], milliseconds: 5000)
    guard case .bytes(let reply, _) = try MessageSocket.receive(upTo: 4096, from: socket.number) else {
      Issue.record("the server has closed the connection")
      return
    }
    let version = try Version(parsing: reply.dropFirst(header.encoded.count))
    #expect((version.major, version.minor) == (0, min(minor, 1)))
    #expect(server.isRunning)
  }

  @Test("regions are mappable by descriptor, or accessed by messages alone")
  func layouts() throws {
    for (layout, size) in [("mapped", 1 << 16), ("memory", 16 << 20), ("messages", 0)] as [(String, UInt64)] {
      let server = try ServerProcess(.edu, ["--layout", layout])
      let client = try Client(try server.connect())
      let first = try client.connection.regionInfo(0)
      let second = try client.connection.regionInfo(2)
      #expect((second.file != nil) == (size > 0))
      #expect(first.info.mappableAreas == (size > 0 ? [4096..<1 << 20] : []))
      #expect(second.info.mappableAreas == (size > 0 ? [0..<size] : []))
      try client.connection.write(2, offset: 0xFF8, width: 8, 0x0123_4567_89AB_CDEF)
      #expect(try client.connection.read(2, offset: 0xFFC, width: 4) == 0x0123_4567)
      if let file = second.file {
        #expect(try readBytes(file.number, 8, at: 0xFF8) == [0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 1])
        // A write by the mapping is a write to the region.
        try writeBytes(file.number, [42], at: 0)
        #expect(try client.connection.read(2, offset: 0, width: 1) == 42)
        #expect(ftruncate(file.number, 0) < 0)
      }
      #expect(try client.connection.read(6, offset: 0, count: 3) == [0x55, 0xAA, 4])
      #expect(try client.connection.read(2, offset: 0, count: 1 << 16).count == 1 << 16)
    }
  }

  @Test("registers work, and an access beyond a region is refused without an end of the connection")
  func registers() throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    let connection = client.connection
    #expect(try connection.read(0, offset: 0, width: 4) == 0x0100_00ED)
    try connection.write(0, offset: 4, width: 4, 0x1234_5678)
    #expect(try connection.read(0, offset: 4, width: 4) == 0xEDCB_A987)
    try connection.write(0, offset: 8, width: 4, 6)
    #expect(try connection.read(0, offset: 8, width: 4) == 720)
    for (region, offset, count) in [(0, 1 << 20, 1), (2, 0xFFFD, 4), (8, 0, 1), (20, 0, 1), (7, .max - 8, 4)]
      as [(UInt32, UInt64, Int)]
    {
      #expect(throws: ConnectionError("test", .refused(.regionRead, errno: UInt32(EINVAL)))) {
        _ = try connection.read(region, offset: offset, count: count)
      }
    }
    try connection.reset()
    #expect(try connection.read(0, offset: 4, width: 4) == 0)
  }

  @Test("a function-level reset by configuration space resets the device")
  func functionLevelReset() throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    try client.enable()
    try client.connection.write(0, offset: 4, width: 4, 1)
    try client.connection.write(7, offset: 0x78, width: 2, 0x8000)
    #expect(try client.connection.read(0, offset: 4, width: 4) == 0)
    #expect(try client.connection.read(7, offset: 4, width: 2) == 0)
  }

  @Test("INTx is masked by its own signal and unmasked by an eventfd")
  func intx() throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    let connection = client.connection
    let line = try EventFD()
    let unmask = try EventFD()
    try connection.setTriggers(0, start: 0, events: [line.number])
    try connection.setUnmask(0, event: unmask.number)
    try connection.write(0, offset: 0x60, width: 4, 1)
    #expect(try line.next() == 1)
    #expect(try connection.read(7, offset: 6, width: 2) & 8 != 0)
    try connection.write(0, offset: 0x60, width: 4, 2)
    #expect(try line.take() == 0)
    // The level is asserted: the end of interrupt signals it again.
    unmask.signal()
    #expect(try line.next() == 1)
    try connection.write(0, offset: 0x64, width: 4, 3)
    unmask.signal()
    #expect(try line.next(milliseconds: 50) == 0)
    #expect(try connection.read(7, offset: 6, width: 2) & 8 == 0)
    // Interrupt Disable delays the signal.
    try connection.write(7, offset: 4, width: 2, 0x400)
    try connection.write(0, offset: 0x60, width: 4, 1)
    #expect(try line.take() == 0)
    try connection.write(7, offset: 4, width: 2, 0)
    #expect(try line.next() == 1)
    try connection.disableInterrupts(0)
  }

  @Test("MSI and MSI-X signal their vectors", arguments: [1, 2] as [UInt32])
  func messages(_ index: UInt32) throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    let event = try EventFD()
    try client.connection.setTriggers(index, start: 0, events: [event.number])
    for _ in 0..<3 { try client.connection.write(0, offset: 0x60, width: 4, 1) }
    #expect(try event.take() == 3)
    try client.connection.removeTriggers(index, start: 0, count: 1)
    try client.connection.write(0, offset: 0x60, width: 4, 1)
    #expect(try event.take() == 0)
    #expect(throws: ConnectionError("test", .refused(.setIRQs, errno: UInt32(EINVAL)))) {
      try client.connection.setTriggers(index, start: 4, events: [event.number])
    }
  }

  @Test(
    "the device reads and writes memory by descriptor and by messages, on one and on two sockets",
    arguments: [true, false], [[], ["--twin-socket"]])
  func dma(_ hasDescriptor: Bool, _ arguments: [String]) throws {
    let server = try ServerProcess(.edu, arguments)
    let client = try Client(try server.connect(), hasDescriptor: hasDescriptor)
    #expect(client.connection.hasTwinSocket == !arguments.isEmpty)
    #expect(try Self.copy(client, 64) == nil)  // Bus Master is off
    try client.enable()
    #expect(try Self.copy(client, 4096) != nil)
    let event = try EventFD()
    try client.connection.setTriggers(2, start: 0, events: [event.number])
    try client.connection.write(0, offset: Self.dmaCommand, width: 8, 7)
    #expect(try event.take() == 1)
    try client.connection.unmap(client.memory.range)
    #expect(try Self.copy(client, 64) == nil)
    #expect(client.connection.refusedTransfers == 0)
    try client.connection.map(
      client.memory.range, [.read], descriptor: hasDescriptor ? client.memory.number : nil)
    #expect(try Self.copy(client, 64) == nil)
    #expect(throws: ConnectionError("test", .refused(.dmaMap, errno: UInt32(EEXIST)))) {
      try client.connection.map(client.memory.range)
    }
    try client.connection.unmap(nil)
    #expect(throws: ConnectionError("test", .refused(.dmaUnmap, errno: UInt32(ENOENT)))) {
      try client.connection.unmap(client.memory.range)
    }
  }

  @Test("a server ignores a descriptor that is too small, and descriptors by option")
  func descriptors() throws {
    let server = try ServerProcess(.edu, ["--messages"])
    let client = try Client(try server.connect())
    try client.enable()
    #expect(try Self.copy(client, 4096) != nil)
    let other = try ServerProcess(.edu)
    let second = try Client(try other.connect())
    #expect(throws: ConnectionError("test", .refused(.dmaMap, errno: UInt32(EINVAL)))) {
      try second.connection.map(IOVARange(address: 0, size: 1 << 23), descriptor: second.memory.number)
    }
  }
}

/// The processes of the servers.
@Suite struct ServerProcessTests {
  @Test("a server accepts a client within 50 ms, and SIGTERM removes its socket")
  func start() throws {
    var best = Int64.max
    // Another program can delay a start. One start of a busy machine is enough.
    for attempt in 0..<50 where attempt < 3 || best >= 50_000 {
      let start = Clock.microseconds()
      let server = try ServerProcess(.edu)
      _ = try server.connect()
      best = min(best, Clock.microseconds() - start)
      server.send(SIGTERM)
      #expect(server.wait() == 0)
      #expect(!FileManager.default.fileExists(atPath: server.path))
    }
    #expect(best < 50_000)
  }

  @Test("a socket in use is an error with status 2, and the socket of a killed server is replaced")
  func inUse() throws {
    let first = try ServerProcess(.edu)
    _ = try first.connect()
    #expect(try ServerProcess(.edu, path: first.path).wait() == 2)
    first.send(SIGKILL)
    #expect(first.wait() == 128 + SIGKILL)
    #expect(FileManager.default.fileExists(atPath: first.path))
    let second = try ServerProcess(.edu, path: first.path)
    _ = try second.connect()
    #expect(second.isRunning)
  }

  @Test(
    "an invalid fault plan or option is wrong usage, and an absent image is a failure",
    arguments: [
      (ServerProgram.edu, ["--descriptors", "17"], nil as String?, 2 as Int32),
      (.edu, [], "at 0: short", 2), (.nvme, ["--image", "/nonexistent"], nil, 1),
    ])
  func invalid(_ program: ServerProgram, _ arguments: [String], _ faults: String?, _ status: Int32) throws {
    #expect(try ServerProcess(program, arguments, faults: faults).wait() == status)
  }

  @Test("a client may replace the eventfd that unmasks INTx, also by a file that cannot be watched")
  func unmaskFiles() throws {
    let server = try ServerProcess(.edu)
    let events = try (0..<3).map { _ in try SharedEventFD() }
    let line = try EventFD()
    for round in 0..<3 {
      let client = try Client(try server.connect())
      let connection = client.connection
      try connection.setTriggers(0, start: 0, events: [line.number])
      try connection.setUnmask(0, event: client.memory.number)
      for event in events {
        try connection.setUnmask(0, event: event.number)
        // A signalled eventfd stays open here after the server has forgotten it.
        event.signal()
      }
      // The server takes the count of the present eventfd.
      let end = Clock.microseconds() + 5_000_000
      while try events[2].isSignaled(), Clock.microseconds() < end {}
      try connection.write(0, offset: 0x60, width: 4, 1)
      #expect(try line.next() == 1)
      events[2].signal()
      #expect(try line.next() == 1)
      if round == 1 { try connection.setUnmask(0, event: client.memory.number) }
    }
  }

  @Test("a server confines itself by a filter")
  func filter() throws {
    let server = try ServerProcess(.edu)
    _ = try Client(try server.connect())
    let status = try String(contentsOfFile: "/proc/\(server.identifier)/status", encoding: .utf8)
    #expect(status.contains("\nSeccomp:\t2\n"))
  }

  @Test("a server serves the next client after a client has left, with a device that was reset")
  func nextClient() throws {
    let server = try ServerProcess(.edu)
    for _ in 0..<3 {
      let client = try Client(try server.connect())
      #expect(try client.connection.read(0, offset: 4, width: 4) == 0)
      try client.connection.write(0, offset: 4, width: 4, 1)
    }
  }
}
