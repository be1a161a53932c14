// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Seams
import TestTools
import Testing

@testable import VFIOUser

/// The seams over a connection to the edu-like server.
@Suite struct RemoteDeviceTests {
  private static func device(_ client: Client) throws -> RemoteDevice { try RemoteDevice(client.connection) }

  @Test("a device has the regions and the interrupts of the server")
  func properties() throws {
    for layout in ["mapped", "messages"] {
      let server = try ServerProcess(.edu, ["--layout", layout])
      let client = try Client(try server.connect())
      let device = try Self.device(client)
      #expect(device.address == "vfio-user:test")
      #expect(device.hasReset && device.busResetScope == nil && device.isOpen)
      #expect(device.region(0)?.mappable == (layout == "mapped" ? [4096..<1 << 20] : []))
      #expect(device.region(1) == nil && device.region(-1) == nil && device.region(8) == nil)
      #expect(device.region(RegionIndex.config)?.size == 4096)
      #expect(InterruptKind.allCases.map { device.interruptInfo($0).count } == [1, 1, 4, 0, 0])
      #expect(try device.enableInterrupts(.msix, count: 64) == 4)
      #expect(try device.readAll(RegionIndex.rom, count: 1 << 20).prefix(2) == [0x55, 0xAA])
      #expect(try device.readAll(1, count: 4) == [])
      #expect(throws: OperationError.self) { _ = try device.dmaBuffer(0, 0..<4096) }
      #expect(throws: OperationError.self) { try device.resetBus() }
    }
  }

  @Test("a mapping and messages access the same memory")
  func mapping() throws {
    try FaultTolerantAccess.install()
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    let device = try Self.device(client)
    let address = try device.map(2, 4096..<8192)
    try FaultTolerantAccess.store(address + 8, 0x1122_3344_5566_7788)
    #expect(try device.read(2, offset: 4096 + 8, width: 8) == 0x1122_3344_5566_7788)
    try device.write(2, offset: 4096 + 16, width: 4, 99)
    #expect(try FaultTolerantAccess.load(address + 16) == 99)
    #expect(throws: OperationError("mmap region 0: the server has no descriptor of this area")) {
      _ = try device.map(0, 0..<4096)
    }
    #expect(throws: OperationError("access region 2: the access ends beyond the region")) {
      _ = try device.read(2, offset: 1 << 16, width: 1)
    }
    device.close()
    #expect(!device.isOpen)
    #expect(throws: OperationError("the connection is closed")) {
      _ = try device.read(2, offset: 0, width: 4)
    }
  }

  @Test("interrupts arrive at their eventfds, and a reset keeps the device usable")
  func interrupts() throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    let device = try Self.device(client)
    let event = try EventFD()
    let unmask = try EventFD()
    try device.setTrigger(.intx, vector: 0, event: event.number)
    try device.setUnmask(event: unmask.number)
    try device.write(0, offset: 0x60, width: 4, 1)
    #expect(try event.next() == 1)
    try device.disableInterrupts(.intx)
    try device.setTrigger(.msix, vector: 0, event: event.number)
    try device.write(0, offset: 0x60, width: 4, 1)
    #expect(try event.next() == 1)
    try device.reset()
    #expect(try device.read(0, offset: 0x24, width: 4) == 0)
    #expect(throws: OperationError.self) { try device.setTrigger(.msix, vector: 4, event: event.number) }
  }

  @Test("a device whose server is killed is not open, and every access fails")
  func killed() throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    let device = try Self.device(client)
    server.send(SIGKILL)
    #expect(throws: OperationError("the other process has closed the connection")) {
      _ = try device.read(7, offset: 0, width: 4)
    }
    #expect(!device.isOpen)
  }

  @Test("RAM is mapped by its file, and unmapped in whole pieces")
  func addressSpace() throws {
    let server = try ServerProcess(.edu)
    let client = try Client(try server.connect())
    try client.connection.unmap(nil)
    let memory = client.memory
    let file = SharedDescriptor(try OwnedDescriptor(duplicating: memory.number))
    let host: UInt64 = 0x7000_0000_0000
    let space = RemoteAddressSpace(
      client.connection, ram: [RAMFile(addresses: host..<host + memory.range.size, file: file)])
    let base = memory.range.address
    let before = try space.limits().mappings
    try space.map(iova: base, size: 0x1000, host: host, sharedWith: nil)
    try space.map(iova: base + 0x1000, size: 0x2000, host: host + 0x1000, sharedWith: nil)
    #expect(try space.limits().mappings == before - 2)
    // The device reads the memory that the file contains.
    try client.enable()
    memory.write(base + 0x1000, [1, 2, 3, 4, 5, 6, 7, 8])
    for (offset, value) in [(0x80, base + 0x1000), (0x88, 0x40000), (0x90, 8), (0x98, 1)]
      as [(UInt64, UInt64)]
    {
      try client.connection.write(0, offset: offset, width: 8, value)
    }
    for (offset, value) in [(0x80, 0x40000), (0x88, base), (0x98, 3)] as [(UInt64, UInt64)] {
      try client.connection.write(0, offset: offset, width: 8, value)
    }
    #expect(memory.read(base, 8) == [1, 2, 3, 4, 5, 6, 7, 8])
    for (iova, address) in [(base, host), (base + 0x8000, host + memory.range.size - 0xFFF), (0, 0)]
      as [(UInt64, UInt64)]
    {
      #expect(throws: OperationError.self) {
        try space.map(iova: iova, size: 0x1000, host: address, sharedWith: nil)
      }
    }
    #expect(throws: OperationError.self) { try space.map(iova: 0, size: 4096, window: .host(host)) }
    #expect(throws: OperationError.self) { _ = try space.unmapAll(iova: base, size: 0x1800) }
    #expect(try space.unmapAll(iova: base + 0x1000, size: 0x10_0000) == 0x2000)
    #expect(try space.unmapAll(iova: base, size: 0x1000) == 0x1000)
    #expect(try space.unmapAll(iova: base, size: 0x1000) == 0)
  }
}
