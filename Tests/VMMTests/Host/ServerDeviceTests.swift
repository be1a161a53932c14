// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import Linux
import Seams
import Synchronization
import TestTools
import Testing

@testable import VMM

/// A device in a real process, and its access to guest RAM.
@Suite struct ServerDeviceTests {
  /// COMMAND, and its values with Memory Space Enable.
  private static let command: UInt64 = 4
  private static let memoryOnly: UInt64 = 2
  private static let busMaster: UInt64 = 6

  private final class Shares: Sendable {
    let list = Mutex<[String]>([])
  }

  /// A device with the thread that receives its messages.
  private final class Rig {
    let process: ServerProcess
    let memory: GuestMemory
    let servers: Servers
    let device: ServerDevice
    /// The changes of the access to guest RAM. Never held together with another lock.
    let shares = Shares()
    private var threads: [Linux.Thread] = []

    init(_ arguments: [String] = []) throws {
      process = try ServerProcess(.edu, arguments)
      _ = try process.connect()  // waits until the server listens
      memory = try GuestMemory(size: 4 << 20, keepsFile: true)
      servers = try Servers(memory, count: 1) { [shares] operation, _, iova, size, _ in
        shares.list.withLock { $0.append("\(operation) \(iova) \(size)") }
      }
      device = try servers.open(.server(process.path), 0, HostFiles())
      #expect(servers.readers.give(device))
      servers.readers.prepare()
      threads = try servers.readers.places.map { place in try Linux.Thread(name: "reader") { place.run() } }
    }

    deinit {
      servers.readers.finish()
      for thread in threads { thread.join() }
    }

    func setCommand(_ value: UInt64) throws {
      try device.write(RegionIndex.config, offset: command, width: 2, value)
    }

    /// True if the process has the file of guest RAM.
    var hasMemory: Bool {
      get throws {
        let files = "/proc/\(process.identifier)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: files).contains { name in
          // The process may close a file while it is listed.
          let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(files)/\(name)")
          return target?.contains("guest-ram") ?? false
        }
      }
    }

    /// Lets the device copy 8 bytes of guest RAM to another place by its buffer.
    func copy() throws {
      let transfers: [[UInt64]] = [[0x1000, 0x40000, 8, 1], [0x40000, 0x2000, 8, 3]]
      for transfer in transfers {
        for (register, value) in zip([0x80, 0x88, 0x90, 0x98] as [UInt64], transfer) {
          try device.write(0, offset: register, width: 8, value)
        }
      }
    }
  }

  @Test("the process has guest RAM exactly while Bus Master Enable is set")
  func busMasterEnable() throws {
    let rig = try Rig()
    #expect(try !rig.hasMemory)
    try rig.setCommand(Self.memoryOnly)
    #expect(try !rig.hasMemory)
    for _ in 0..<3 {
      try rig.setCommand(Self.busMaster)
      try rig.setCommand(Self.busMaster)
      #expect(try rig.hasMemory)
      try rig.setCommand(Self.memoryOnly)
      #expect(try !rig.hasMemory)
    }
    let once = ["map 0 4194304", "unmap 0 4194304"]
    #expect(rig.shares.list.withLock { $0 } == once + once + once)
    // A write of both COMMAND and STATUS, and one of the bit's byte alone.
    try rig.device.write(RegionIndex.config, offset: 4, width: 4, Self.busMaster)
    #expect(try rig.hasMemory)
    try rig.device.write(RegionIndex.config, offset: 6, width: 2, 0)
    #expect(try rig.hasMemory, "STATUS alone changes nothing")
    try rig.device.write(RegionIndex.config, offset: 4, width: 1, 0)
    #expect(try !rig.hasMemory)
    try rig.setCommand(Self.busMaster)
    try rig.device.reset()
    #expect(try !rig.hasMemory, "a reset takes guest RAM back")
    try rig.setCommand(Self.busMaster)
    try rig.device.reopen()
    #expect(try !rig.hasMemory)
  }

  @Test("the error bits of STATUS are written with the whole register, which libvfio-user requires")
  func status() throws {
    let rig = try Rig(["--strict"])
    try rig.device.write(RegionIndex.config, offset: 7, width: 1, 0xF9)
    #expect(throws: OperationError.self) { try rig.device.write(RegionIndex.config, offset: 5, width: 1, 1) }
    #expect(rig.device.loss == nil)
  }

  @Test(
    "DMA reaches guest RAM by descriptor and by message",
    arguments: [[], ["--messages"], ["--messages", "--twin-socket"]])
  func transfers(_ arguments: [String]) throws {
    let rig = try Rig(arguments)
    try rig.memory.store(0x0123_4567_89AB_CDEF as UInt64, at: GuestAddress(0x1000))
    try rig.setCommand(Self.memoryOnly)
    try rig.copy()
    #expect(try rig.memory.load(UInt64.self, at: GuestAddress(0x2000)) == 0)
    try rig.setCommand(Self.busMaster)
    try rig.copy()
    #expect(try rig.memory.load(UInt64.self, at: GuestAddress(0x2000)) == 0x0123_4567_89AB_CDEF)
    #expect(rig.device.loss == nil)
  }

  @Test("the end of the process is a request for the device, now and for a later eventfd")
  func loss() throws {
    let rig = try Rig()
    let first = try EventFD()
    let second = try EventFD()
    #expect(rig.device.interruptInfo(.request).count == 1)
    try rig.device.setTrigger(.request, vector: 0, event: first.number)
    #expect(try !first.isSignaled())
    rig.process.send(SIGKILL)
    #expect(try first.wait(milliseconds: 5000))
    #expect(rig.device.loss != nil && rig.device.isOpen)
    try rig.device.setTrigger(.request, vector: 0, event: second.number)
    #expect(try second.isSignaled())
    #expect(throws: OperationError.self) { try rig.device.read(RegionIndex.config, offset: 0, width: 4) }
    rig.device.close()
    #expect(!rig.device.isOpen)
  }

  @Test("an own close is no loss, and the thread takes the next device")
  func close() throws {
    let rig = try Rig()
    let event = try EventFD()
    try rig.device.setTrigger(.request, vector: 0, event: event.number)
    let name = DeviceName.server(rig.process.path)
    rig.device.close()
    #expect(rig.device.loss == nil)
    var next: ServerDevice?
    for _ in 0..<1000 where next == nil {
      do throws(RunError) { next = try rig.servers.add(name, HostFiles()) } catch {
        #expect(error == .server(.noReader(name)))
        usleep(1000)
      }
    }
    let again = try #require(next)
    #expect(try again.read(RegionIndex.config, offset: 0, width: 4) == 0x11E8_1234)
    #expect(try !event.isSignaled())
    #expect(throws: RunError.server(.noReader(name))) { try rig.servers.add(name, HostFiles()) }
  }

  @Test("the enable bits of MSI and MSI-X in the process follow the active kind")
  func messageControl() throws {
    let rig = try Rig()
    func control(_ offset: UInt64) throws -> UInt64 {
      try rig.device.read(RegionIndex.config, offset: offset, width: 2)
    }
    #expect(try control(0x52) == 0x80 && control(0xB2) == 3)
    _ = try rig.device.enableInterrupts(.msi, count: 1)
    #expect(try control(0x52) == 0x81 && control(0xB2) == 3)
    try rig.device.disableInterrupts(.msi)
    _ = try rig.device.enableInterrupts(.msix, count: 4)
    #expect(try control(0x52) == 0x80 && control(0xB2) == 0x8003)
    try rig.device.disableInterrupts(.msix)
    #expect(try control(0xB2) == 3)
    _ = try rig.device.enableInterrupts(.intx, count: 1)
    #expect(try control(0x52) == 0x80 && control(0xB2) == 3)
  }

  @Test(
    "Multiple Message Enable is the logarithm of the number of vectors, rounded up",
    arguments: [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (32, 5)] as [(Int, UInt16)])
  func messageCount(_ vectors: Int, _ exponent: UInt16) {
    var config = [UInt8](repeating: 0, count: 256)
    (config[6], config[0x34], config[0x40], config[0x42]) = (0x10, 0x40, 5, 0x8A)
    #expect(MessageControl(.msi, vectors: vectors, in: config)?.value == 0x8B | exponent << 4)
    config[0x42] = 0xDB
    #expect(MessageControl(.msi, vectors: 0, in: config) == MessageControl(offset: 0x42, value: 0x8A))
    #expect(MessageControl(.msix, vectors: 1, in: config) == nil)
  }

  @Test("RAM without a file cannot be shared")
  func notShared() throws {
    let servers = try Servers(GuestMemory(size: 2 << 20), count: 1) { _, _, _, _, _ in }
    #expect(throws: RunError.server(.notShared(.server("/a")))) {
      try servers.open(.server("/a"), 0, HostFiles())
    }
  }
}
