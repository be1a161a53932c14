// SPDX-License-Identifier: Apache-2.0

import Gate
import PCI
import Testing

@testable import VMM

@Suite struct ControlRequestTests {
  private func request(_ line: String) throws(ControlRequest.Invalid) -> ControlRequest {
    try ControlRequest(line: Array(line.utf8))
  }

  private func invalid(_ bytes: [UInt8]) -> (String?, ControlError)? {
    do throws(ControlRequest.Invalid) {
      _ = try ControlRequest(line: bytes)
      return nil
    } catch { return (error.id?.json, error.error) }
  }

  @Test("each operation has its fields, in any order and with spaces")
  func operations() throws {
    #expect(try request(#"{"id":1,"op":"status"}"#).action == .status)
    #expect(try request(" { \"op\" : \"events\" , \"id\" : 1 } \r").action == .events)
    #expect(
      try request(#"{"id":1,"op":"remove","device":"1:0.0"}"#).action
        == .operation(.remove(device: "0000:01:00.0", timeout: nil)))
    #expect(
      try request(#"{"id":1,"op":"remove","device":"01:00.0","timeout":0}"#).action
        == .operation(.remove(device: "0000:01:00.0", timeout: 0)))
    #expect(
      try request(#"{"id":1,"op":"inject","device":"1:0.0","severity":"non-fatal"}"#).action
        == .operation(.inject(device: "0000:01:00.0", .nonFatal)))
    var device = Configuration.AssignedDevice(address: try #require(Address("0000:02:00.0")), hasPort: true)
    #expect(
      try request(#"{"id":1,"op":"add","device":"2:0.0","files":"group.7 devices"}"#).action
        == .operation(.add(device, port: nil, files: [.group("7"), .devices])))
    #expect(
      try request(#"{"id":1,"op":"replace","device":"1:0.0","with":"2:0.0","files":"devices"}"#).action
        == .operation(.replace(device: "0000:01:00.0", with: device, files: [.devices])))
    device.policies = DevicePolicies()
    (device.policies.barMap, device.policies.peerDMA) = (.eager, .off)
    device.policies.memoryBit = .shadow
    device.token = "2ab74924-c335-45f4-9b16-8569e5b08258"
    #expect(
      try request(
        #"{"id":1,"op":"add","device":"2:0.0","files":"devices","port":31,"bar-map":"eager","peer-dma":"off","#
          + #""memory-bit":"shadow","vf-token":"2ab74924-c335-45f4-9b16-8569e5b08258"}"#
      ).action == .operation(.add(device, port: 31, files: [.devices])))
    #expect(try request(#"{"id":1,"op":"stop"}"#).action == .operation(.stop(timeout: nil)))
    #expect(
      try request(#"{"timeout":86400,"id":1,"op":"stop"}"#).action == .operation(.stop(timeout: 86_400)))
  }

  @Test(
    "an ID is a string of at most 64 bytes or a whole number, and the reply repeats it",
    arguments: [
      ("0", "0"), ("-7", "-7"), ("18446744073709551615", "18446744073709551615"), ("\"a\"", "\"a\""),
      ("\"\"", "\"\""), (#""\u000a\"""#, #""\u000a\"""#), ("\"µ\"", "\"µ\""),
      ("\"\(String(repeating: "x", count: 64))\"", "\"\(String(repeating: "x", count: 64))\""),
    ])
  func identifiers(_ id: String, _ json: String) throws {
    #expect(try request("{\"id\":\(id),\"op\":\"status\"}").id.json == json)
  }

  @Test(
    "another ID is an error without an ID",
    arguments: [
      "01", "1.0", "1e3", "-", ".5", "-0x1", "123456789012345678901", "true", "null", "-01",
      "\"\(String(repeating: "x", count: 65))\"", "\"\(String(repeating: "µ", count: 33))\"",
    ])
  func badIdentifiers(_ id: String) throws {
    let (json, error) = try #require(invalid(Array("{\"id\":\(id),\"op\":\"status\"}".utf8)))
    #expect(json == nil && (error == .noID || error == .notAnObject))
  }

  @Test(
    "an invalid request is an error with the request's ID",
    arguments: [
      (#"{"id":1}"#, .noOperation), (#"{"id":1,"op":2}"#, .noOperation),
      (#"{"id":1,"op":null}"#, .noOperation), (#"{"id":1,"op":"quit"}"#, .unknownOperation("quit")),
      (#"{"id":1,"op":"Status"}"#, .unknownOperation("Status")),
      (#"{"id":1,"op":"status","device":"0000:01:00.0"}"#, .unknownField("device", .status)),
      (#"{"id":1,"op":"stop","x":true}"#, .unknownField("x", .stop)),
      (#"{"id":1,"op":"stop","":null}"#, .unknownField("", .stop)),
      (#"{"id":1,"op":"stop","op":"status"}"#, .doubledField("op")),
      (#"{"id":1,"op":"stop","timeout":5,"timeout":null}"#, .doubledField("timeout")),
      (#"{"id":1,"op":"remove"}"#, .invalidField(.device, .remove)),
      (#"{"id":1,"op":"remove","device":1}"#, .invalidField(.device, .remove)),
      (#"{"id":1,"op":"remove","device":"x"}"#, .invalidField(.device, .remove)),
      (#"{"id":1,"op":"inject","severity":"fatal"}"#, .invalidField(.device, .inject)),
      (#"{"id":1,"op":"inject","device":"1:0.0"}"#, .invalidField(.severity, .inject)),
      (#"{"id":1,"op":"inject","device":"1:0.0","severity":"x"}"#, .invalidField(.severity, .inject)),
      (#"{"id":1,"op":"add","device":"1:0.0"}"#, .invalidField(.files, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":""}"#, .invalidField(.files, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":"kvm devices"}"#, .invalidField(.files, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":"devices devices"}"#, .invalidField(.files, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":"devices x"}"#, .invalidField(.files, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":"devices","port":0}"#, .invalidField(.port, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":"devices","port":32}"#, .invalidField(.port, .add)),
      (#"{"id":1,"op":"add","device":"1:0.0","files":"devices","port":"1"}"#, .invalidField(.port, .add)),
      (
        #"{"id":1,"op":"add","device":"1:0.0","files":"devices","bar-map":"x"}"#, .invalidField(.barMap, .add)
      ),
      (
        #"{"id":1,"op":"add","device":"1:0.0","files":"devices","peer-dma":1}"#, .invalidField(.peerDMA, .add)
      ),
      (
        #"{"id":1,"op":"add","device":"1:0.0","files":"devices","vf-token":"x"}"#, .invalidField(.token, .add)
      ),
      (#"{"id":1,"op":"add","with":"1:0.0","files":"devices"}"#, .unknownField("with", .add)),
      (#"{"id":1,"op":"replace","device":"1:0.0","files":"devices"}"#, .invalidField(.with, .replace)),
      (#"{"id":1,"op":"stop","timeout":0}"#, .invalidField(.timeout, .stop)),
      (#"{"id":1,"op":"remove","device":"01:00.0","timeout":-1}"#, .invalidField(.timeout, .remove)),
      (#"{"id":1,"op":"stop","timeout":86401}"#, .invalidField(.timeout, .stop)),
      (#"{"id":1,"op":"stop","timeout":1.5}"#, .invalidField(.timeout, .stop)),
      (#"{"id":1,"op":"stop","timeout":"5"}"#, .invalidField(.timeout, .stop)),
      (#"{"id":1,"op":"stop","timeout":null}"#, .invalidField(.timeout, .stop)),
    ] as [(String, ControlError)])
  func errors(_ line: String, _ expected: ControlError) throws {
    let (json, error) = try #require(invalid(Array(line.utf8)))
    #expect(json == "1" && error == expected)
  }

  @Test("a doubled ID is an error without an ID")
  func doubledID() throws {
    let (json, error) = try #require(invalid(Array(#"{"id":1,"id":2,"op":"status"}"#.utf8)))
    #expect(json == nil && error == .doubledField("id"))
  }

  @Test(
    "a line that is not a flat JSON object in UTF-8 is an error without an ID",
    arguments: [
      [], Array("x".utf8), Array("[]".utf8), Array(#"{"id":1,"op":"status""#.utf8),
      Array(#"{"id":1,"op":{"a":1}}"#.utf8), Array(#"{"id":"\#u{0}"}"#.utf8), [0xFF],
      Array(#"{"id":""#.utf8) + [0xC3] + Array(#"","op":"status"}"#.utf8),
    ] as [[UInt8]])
  func lines(_ bytes: [UInt8]) throws {
    let (json, error) = try #require(invalid(bytes))
    #expect(json == nil && error == .notAnObject)
  }

  @Test("a name in an error has at most 32 printable characters")
  func printable() {
    let name = "\u{1B}[" + String(repeating: "x", count: 100)
    #expect(
      ControlError.unknownOperation(name).cause
        == "'?[\(String(repeating: "x", count: 30))…' is not an operation")
  }

  @Test("bytes become lines of at most 4096 bytes, however they arrive")
  func framing() {
    var lines = RequestLines()
    lines.add(Array("ab\n\ncd".utf8))
    #expect(lines.next() == .line(Array("ab".utf8)))
    #expect(lines.next() == .line([]))
    #expect(lines.next() == .none)
    lines.add(Array("e\n".utf8))
    #expect(lines.next() == .line(Array("cde".utf8)) && lines.next() == .none)
    let longest = [UInt8](repeating: 0x78, count: 4096)
    lines.add(longest)
    #expect(lines.next() == .none)
    lines.add([10])
    #expect(lines.next() == .line(longest))
    lines.add(longest + [0x78])
    #expect(lines.next() == .tooLong)
    lines = RequestLines()
    lines.add(longest + [0x78, 10])
    #expect(lines.next() == .tooLong)
  }

  @Test("a reply repeats the ID, and an error has subject, operation, cause and remedy")
  func replies() throws {
    let id = try request(#"{"id":"a\"b","op":"status"}"#).id
    var fields = ControlFields()
    fields.put("text", "x\n")
    fields.put("number", 7)
    func line(_ id: ControlID?, _ result: Result<ControlFields, ControlError>) -> String {
      String(decoding: ControlReply.line(id, result) { _ in "wait" }, as: UTF8.self)
    }
    #expect(
      line(id, .success(fields)) == #"{"id":"a\"b","ok":1,"text":"x\u000a","number":7}"# + "\n")
    #expect(
      line(nil, .failure(.busy(device: "0000:01:00.0", .remove)))
        == #"{"id":null,"ok":0,"subject":"device 0000:01:00.0","operation":"remove","#
        + #""cause":"another operation on it has not ended","remedy":"wait"}"# + "\n")
  }
}
