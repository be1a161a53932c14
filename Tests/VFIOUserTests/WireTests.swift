// SPDX-License-Identifier: Apache-2.0

import Fakes
import Testing

@testable import VFIOUser

/// The bytes of messages, from the tables of the protocol.
@Suite struct WireTests {
  @Test("a header is 16 bytes, little-endian")
  func header() throws {
    let header = Header(id: 0x1234, command: 9, kind: .reply, bodySize: 4, isError: true, errno: 22)
    let bytes: [UInt8] = [0x34, 0x12, 9, 0, 20, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0]
    #expect(header.encoded == bytes)
    #expect(try Header(parsing: bytes[...], limit: 20) == header)
    #expect(header.bodySize == 4)
  }

  @Test("a header with another type, or a size outside the limits, is an error")
  func invalidHeader() {
    var bytes = Header(id: 1, command: 9, kind: .command, bodySize: 5).encoded
    #expect(throws: MessageError("REGION_READ", .size(21, expected: 16...20))) {
      try Header(parsing: bytes[...], limit: 20)
    }
    bytes[4] = 15
    #expect(throws: MessageError("REGION_READ", .size(15, expected: 16...20))) {
      try Header(parsing: bytes[...], limit: 20)
    }
    bytes[8] = 2
    #expect(throws: MessageError("header", .value("type", 2))) { try Header(parsing: bytes[...], limit: 20) }
    #expect(throws: MessageError("header", .size(15, expected: 16...16))) {
      try Header(parsing: bytes.dropLast(), limit: 20)
    }
  }

  @Test("the reserved flags of a header are ignored")
  func reservedFlags() throws {
    var bytes = Header(id: 1, command: 9, kind: .command, bodySize: 0, wantsNoReply: true).encoded
    #expect(bytes[8] == 0x10)
    bytes[9] = 0xFF
    #expect(try Header(parsing: bytes[...], limit: 16).wantsNoReply)
  }

  @Test("bodies have the sizes and the flags of the protocol")
  func sizes() {
    let map = DMAMap(access: [.read, .write], offset: 1, range: IOVARange(address: 0x1000, size: 0x2000))
    #expect(
      map.encoded == [
        32, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0,
      ])
    #expect(DMAUnmap(nil).encoded == [24, 0, 0, 0, 2, 0, 0, 0] + [UInt8](repeating: 0, count: 16))
    #expect(DeviceInfo().encoded == [16] + [UInt8](repeating: 0, count: 15))
    #expect(IRQInfo(index: 2).encoded == [16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
    #expect(RegionInfoRequest(index: 7).encoded.count == 32)
    #expect(RegionInfo(flags: [.read], index: 0, regionSize: 1, areas: []).encoded.count == 48)
    let set = IRQSet(action: .trigger, data: .eventfds, index: 2, start: 8, count: 3)
    #expect(set.encoded == [20, 0, 0, 0, 0x24, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0])
    #expect(
      RegionAccess(region: 1, offset: 2, count: 4).encoded == [
        2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0,
      ])
    #expect(
      DMATransfer(address: 1, data: [9]).encoded == [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9])
  }

  @Test("a range that wraps around, or has no bytes, is an error")
  func ranges() {
    for range in [IOVARange(address: .max, size: 2), IOVARange(address: 0, size: 0)] {
      let error = MessageError("DMA_MAP", .range(start: range.address, size: range.size))
      let map = DMAMap(access: .read, offset: 0, range: range)
      #expect(throws: error) { try DMAMap(parsing: map.encoded[...]) }
      #expect(throws: MessageError.self) { try DMAUnmap(parsing: DMAUnmap(range).encoded[...]) }
      #expect(throws: MessageError.self) { try DMATransfer(parsing: DMATransfer(range).encoded[...]) }
    }
    let access = RegionAccess(region: 0, offset: .max, count: 2)
    #expect(throws: MessageError.self) { try RegionAccess(parsing: access.encoded[...]) }
    let vectors = IRQSet(action: .trigger, data: .eventfds, index: 2, start: 2047, count: 2)
    #expect(throws: MessageError("DEVICE_SET_IRQS", .range(start: 2047, size: 2))) {
      try IRQSet(parsing: vectors.encoded[...])
    }
    let file = DMAMap(access: .read, offset: 1 << 63, range: IOVARange(address: 0, size: 1))
    #expect(throws: MessageError.self) { try DMAMap(parsing: file.encoded[...]) }
  }

  @Test("ranges of IOVAs compare without overflow")
  func overlap() {
    let last = IOVARange(address: .max - 1, size: 2)
    #expect(last.overlaps(IOVARange(address: .max, size: 1)))
    #expect(!last.overlaps(IOVARange(address: 0, size: .max - 1)))
    #expect(IOVARange(address: 0, size: .max).overlaps(last))
    #expect(last.contains(IOVARange(address: .max, size: 1)))
    #expect(!last.contains(IOVARange(address: .max - 2, size: 2)))
    #expect(!IOVARange(address: 0, size: 2).contains(IOVARange(address: 1, size: 2)))
  }

  @Test("only a trigger without data may have no vectors")
  func noVectors() {
    for action in IRQSet.Action.allCases {
      for data in [IRQSet.Data.none, .eventfds, .bools([])] {
        let set = IRQSet(action: action, data: data, index: 0, start: 0, count: 0)
        let isPermitted = action == .trigger && data == .none
        #expect((try? IRQSet(parsing: set.encoded[...])) == (isPermitted ? set : nil))
      }
    }
  }

  @Test("mappable areas are within the region and do not overlap")
  func areas() throws {
    func parsed(_ areas: [(UInt64, UInt64)]) throws -> RegionInfo {
      let info = RegionInfo(
        flags: [.mappable], index: 0, regionSize: 0x4000,
        areas: areas.map { RegionInfo.Area(offset: $0.0, size: $0.1) })
      return try RegionInfo(parsing: info.encoded[...])
    }
    #expect(try parsed([(0x3000, 0x1000), (0, 0x1000)]).mappableAreas == [0..<0x1000, 0x3000..<0x4000])
    #expect(try parsed([]).mappableAreas.isEmpty)
    for invalid: [(UInt64, UInt64)] in [
      [(0x3000, 0x1001)], [(0x5000, 1)], [(0, 0)], [(0, 0x1000), (0xFFF, 1)], [(.max, 2)],
    ] { #expect(throws: MessageError.self) { try parsed(invalid) } }
    let whole = RegionInfo(flags: [.mappable], index: 0, regionSize: 0x4000)
    #expect(whole.mappableAreas == [0..<0x4000])
  }

  @Test("a chain of capabilities that is circular or leaves the reply is an error")
  func chains() throws {
    var bytes = RegionInfo(flags: [], index: 0, regionSize: 16, areas: [.init(offset: 0, size: 16)]).encoded
    for offset: UInt8 in [1, 31, 57, 64, 255] {
      bytes[12] = offset
      #expect(throws: MessageError.self) { try RegionInfo(parsing: bytes[...]) }
    }
    bytes[12] = 32
    bytes[32] = 9  // an unknown capability
    #expect(try RegionInfo(parsing: bytes[...]).areas == nil)
    bytes[36] = 32  // the next capability is itself
    #expect(throws: MessageError("DEVICE_GET_REGION_INFO", .value("capability offset", 32))) {
      try RegionInfo(parsing: bytes[...])
    }
  }
}

/// The text of VERSION.
@Suite struct VersionTests {
  private func parsed(_ text: String) throws(MessageError) -> Capabilities {
    try Version(parsing: [0, 0, 1, 0][...] + Array(text.utf8) + [0]).capabilities
  }

  @Test("missing keys have defaults and unknown keys are ignored")
  func tolerance() throws {
    for text in [
      "{}", "{\"capabilities\":{}}", "{\"x\":[{\"y\":null},-1.5e3,\"\\u0041\"],\"capabilities\":{\"z\":{}}}",
    ] {
      #expect(try parsed(text) == Capabilities())
    }
    #expect(try Version(parsing: [0, 0, 1, 0]).capabilities == Capabilities())
    let text = """
      { "capabilities" : { "max_msg_fds": 8, "max_data_xfer_size": 65536, "migration": { "pgsize": 4096 },
        "twin_socket": { "supported": true, "fd_index": 0 }, "write_multiple": true } }
      """
    let capabilities = try parsed(text)
    #expect(capabilities.messageDescriptors == 8)
    #expect(capabilities.transferSize == 65536)
    #expect(capabilities.dmaMaps == 65535)
    #expect(capabilities.twinSocket && capabilities.twinSocketIndex == 0)
    #expect(capabilities.writesMultiple)
  }

  @Test(
    "a text that is no object, or has a known key of another type, is an error",
    arguments: [
      "", "[]", "1", "{", "{}}", "{\"capabilities\":1}", "{\"capabilities\":{\"max_msg_fds\":\"8\"}}",
      "{\"capabilities\":{\"max_msg_fds\":0}}", "{\"capabilities\":{\"max_msg_fds\":-1}}",
      "{\"capabilities\":{\"twin_socket\":true}}", "{\"capabilities\":{\"write_multiple\":1}}",
      "{\"a\":+1}", "{\"a\":0x1}", "{\"a\":nan}", "{\"a\":}", "{\"a\" 1}", "{\"a\":[1}",
      "{\"a\":" + String(repeating: "[", count: 40) + String(repeating: "]", count: 40) + "}",
    ])
  func errors(_ text: String) {
    #expect(throws: MessageError("VERSION", .text)) { try parsed(text) }
  }

  @Test("a text without NUL, and a body that is too long, are errors")
  func ends() {
    #expect(throws: MessageError("VERSION", .text)) { try Version(parsing: [0, 0, 1, 0, 0x7B, 0x7D]) }
    let long = [UInt8](repeating: 0x20, count: Version.mostBytes + 1)
    #expect(throws: MessageError("VERSION", .size(long.count, expected: 4...Version.mostBytes))) {
      try Version(parsing: long[...])
    }
  }
}
