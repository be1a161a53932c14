// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Linux

@Suite struct FaultTolerantAccessTests {
  @Test("8 bytes of a mapping are read and written in one access")
  func present() throws {
    let directory = try Temporary()
    let path = try directory.file("file", [UInt8](repeating: 0, count: 4096))
    let file = try OwnedDescriptor(opening: path, .readWrite)
    let mapping = try Mapping(descriptor: file.number, offset: 0, size: 4096)
    try FaultTolerantAccess.store(mapping.address + 8, 0x1122_3344_5566_7788)
    #expect(try FaultTolerantAccess.load(mapping.address + 8) == 0x1122_3344_5566_7788)
    #expect(try FaultTolerantAccess.load(mapping.address) == 0)
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
    #expect(bytes[8] == 0x88 && bytes[15] == 0x11)
  }

  @Test("every access to missing memory is an error, and the process continues")
  func gone() throws {
    try FaultTolerantAccess.install()
    let directory = try Temporary()
    let path = try directory.file("file", [UInt8](repeating: 1, count: 4096))
    let file = try OwnedDescriptor(opening: path, .readWrite)
    let mapping = try Mapping(descriptor: file.number, offset: 0, size: 4096)
    #expect(try FaultTolerantAccess.load(mapping.address) == 0x0101_0101_0101_0101)
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.truncate(atOffset: 0)
    for _ in 0..<3 {
      #expect(throws: KernelError("read mapped memory", .noMemory)) {
        _ = try FaultTolerantAccess.load(mapping.address)
      }
      #expect(throws: KernelError("write mapped memory", .noMemory)) {
        try FaultTolerantAccess.store(mapping.address, 1)
      }
    }
    try handle.truncate(atOffset: 4096)
    #expect(try FaultTolerantAccess.load(mapping.address) == 0)
  }

  @Test("SIGBUS of other code ends the process with a line that has the address")
  func elsewhere() async throws {
    let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
      try FaultTolerantAccess.install()
      raise(SIGBUS)
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("sluice: SIGBUS at host address 0x"))
    #expect(text.contains("the VM ends"))
  }
}
