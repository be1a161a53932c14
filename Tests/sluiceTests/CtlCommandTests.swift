// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Linux
import Testing
import Trace
@testable import VMM
@testable import sluice

@Suite struct CtlCommandTests {
  @Test(
    "the arguments become one request",
    arguments: [
      (["status"], #"{"id":1,"op":"status"}"#), (["events", "--json"], #"{"id":1,"op":"events"}"#),
      (["remove", "01:00.0"], #"{"id":1,"op":"remove","device":"0000:01:00.0"}"#),
      (
        ["inject", "01:00.0"], #"{"id":1,"op":"inject","device":"0000:01:00.0","severity":"fatal"}"#
      ),
      (
        ["inject", "01:00.0", "--severity", "non-fatal"],
        #"{"id":1,"op":"inject","device":"0000:01:00.0","severity":"non-fatal"}"#
      ),
      (["stop"], #"{"id":1,"op":"stop"}"#),
      (["stop", "--timeout", "60"], #"{"id":1,"op":"stop","timeout":60}"#),
      (
        ["remove", "01:00.0", "--timeout", "0"],
        #"{"id":1,"op":"remove","device":"0000:01:00.0","timeout":0}"#
      ),
    ] as [([String], String)])
  func requests(_ arguments: [String], _ line: String) throws {
    let command = try CtlCommand.parse(["path"] + arguments)
    #expect(try CtlRequest(command, command.verb()).simpleLine == line + "\n")
  }

  @Test("a request that adds a device has its options and the names of its files")
  func addition() throws {
    let token = "2ab74924-c335-45f4-9b16-8569e5b08258"
    let added = try DeviceArgument(
      "02:00.0,bar-map=eager,peer-dma=on-enable,memory-bit=shadow,vf-token=\(token)")
    let options =
      #""bar-map":"eager","peer-dma":"on-enable","memory-bit":"shadow","vf-token":"\#(token)""#
    let add = try CtlCommand.parse(["path", "add", "02:00.0", "--port", "3"])
    let first = try CtlRequest(add, .add).line(
      .add, added, adding: added, to: 3, files: ["group.7", "devices"])
    #expect(
      first == #"{"id":1,"op":"add","device":"0000:02:00.0",\#(options),"port":3,"files":"group.7 devices"}"#
        + "\n")
    let replace = try CtlCommand.parse(["path", "replace", "01:00.0", "02:00.0"])
    let second = try CtlRequest(replace, .replace).line(
      .replace, DeviceArgument("01:00.0"), adding: added, to: nil, files: ["iommu", "devices"])
    #expect(
      second
        == #"{"id":1,"op":"replace","device":"0000:01:00.0",\#(options),"with":"0000:02:00.0","#
        + #""files":"iommu devices"}"# + "\n")
    // The VM accepts both lines.
    for line in [first, second] {
      #expect(throws: Never.self) { try ControlRequest(line: Array(line.dropLast().utf8)) }
    }
  }

  @Test(
    "an argument that the operation does not have is a usage error",
    arguments: [
      (["status", "01:00.0"], "address: 'status' has no device; leave it out"),
      (["add"], "device: no PCI address; give one such as 0000:01:00.0"),
      (["remove", "01:00.0", "02:00.0"], "address: 'remove' has no second device; leave it out"),
      (["remove", "01:00.0", "--port", "1"], "--port: 'remove' has no port; leave it out"),
      (["remove", "01:00.0", "--bind"], "--bind: 'remove' has no device to bind; leave it out"),
      (["stop", "--timeout", "0"], "'0' is not a time in seconds; give 1 to 86400"),
      (["inject", "01:00.0", "--timeout", "1"], "--timeout: 'inject' has no timeout; leave it out"),
      (
        ["add", "01:00.0,peer-dma=off@02:00.0"],
        "peer-dma: 'add' has one policy for all devices; leave the address out"
      ),
    ])
  func surplus(_ arguments: [String], _ message: String) throws {
    let command = try CtlCommand.parse(["path"] + arguments)
    let error = #expect(throws: ValidationError.self) { try CtlRequest(command, command.verb()) }
    #expect(error?.message == message)
  }

  /// Adds a device to a VM that sends a line and ends the connection.
  private static func add(to line: String) throws -> ControlConnection.Reply {
    let path = FileManager.default.temporaryDirectory.appending(path: "ctl-\(UUID().uuidString)").path
    let listener = SharedDescriptor(try SocketListener.create(at: path))
    defer { unsafe unlink(path) }
    let vm = try Linux.Thread(name: "vm") {
      // Without a client, the test fails at its end.
      do throws(KernelError) {
        guard let client = try SocketListener.accept(listener.number) else { return }
        try StreamSocket.sendAll(Array("\(line)\n".utf8), to: client.number)
      } catch {}
    }
    defer { vm.join() }
    var socket = try ControlConnection(path)
    return try CtlRequest(CtlCommand.parse([path, "add", "01:00.0"]), .add).perform(&socket)
  }

  @Test("an addition to a VM that refuses the client, or can have no such device, has the cause")
  func refused() throws {
    let refusal =
      #"{"id":null,"ok":0,"subject":"control socket","operation":"connect","cause":"c","remedy":"r"}"#
    #expect(try Self.add(to: refusal).error == "control socket: connect: c; r")
    for (ports, message) in [
      (0, ControlError.noPorts(.add).message), (2, HostProblem.noHostDevices("0000:01:00.0").message),
    ] {
      let error = #expect(throws: CommandFailure.self) {
        try Self.add(to: #"{"id":1,"ok":1,"state":"running","ports":\#(ports),"devices":0}"#)
      }
      #expect(error?.message == message)
    }
  }

  @Test("a reply is text, and an error is a message")
  func replies() throws {
    let line =
      #"{"id":1,"ok":1,"state":"ending","outcome":"quit","vcpus":2,"memory":1073741824,"iommu":"type1","#
      + #""groups":"7 9","ports":2,"port0":1,"port0.device":"0000:01:00.0","port1":2,"port1.device":"","devices":1,"#
      + #""device0":"0000:01:00.0","device0.state":"released","device0.windows":5,"device0.opened":3,"#
      + #""device0.vectors":9,"device0.used":2,"device0.later":"x","later":7}"#
    let reply = try #require(ControlConnection.Reply(line))
    #expect(
      reply.error == nil && reply.interface == .type1 && reply.groups == ["7", "9"] && reply.port == nil)
    #expect(
      reply.text(for: .status, timeout: nil)
        == "ending (quit), 2 vCPUs, 1024 MiB of RAM\nport 1  0000:01:00.0\nport 2  empty\n0000:01:00.0  released, windows opened 3 of 5, vectors used 2 of 9"
    )
    let error = try #require(
      ControlConnection.Reply(
        #"{"id":1,"ok":0,"subject":"VM","operation":"stop","cause":"it has ended","remedy":"start it"}"#))
    #expect(error.error == "VM: stop: it has ended; start it")
  }

  @Test(
    "a line that is not a reply is refused",
    arguments: ["", "x", "{}", #"{"id":1}"#, #"{"id":1,"ok":"1"}"#, #"{"id":1,"ok":2}"#, #"{"ok":true}"#])
  func malformed(_ line: String) { #expect(ControlConnection.Reply(line) == nil) }

  @Test(
    "an event is text with its time in ms, and another line is unchanged",
    arguments: [
      (
        #"{"time":12005,"event":"reset","device":"0000:01:00.0","why":"flr","us":3}"#,
        "12.005 ms  reset device=0000:01:00.0 why=flr us=3"
      ),
      (#"{"time":7,"event":"later","x":null}"#, "0.007 ms  later"), ("x", "x"),
      (#"{"time":-1234,"event":"x"}"#, #"{"time":-1234,"event":"x"}"#),
    ])
  func events(_ line: String, _ text: String) {
    #expect(ControlConnection.Reply.text(ofEvent: line) == text)
  }

  @Test("a hostile status does not make the client print more devices than a VM can have")
  func hostile() throws {
    let reply = try #require(ControlConnection.Reply(#"{"ok":1,"devices":999999999999}"#))
    #expect(reply.text(for: .status, timeout: nil).split(separator: "\n").count == 32)
    let negative = try #require(ControlConnection.Reply(#"{"ok":1,"devices":-1,"memory":-1}"#))
    #expect(negative.text(for: .status, timeout: nil) == "?, ? vCPUs, 0 MiB of RAM")
  }
}
