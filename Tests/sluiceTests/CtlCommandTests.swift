// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Testing
import VMM

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
    ] as [([String], String)])
  func requests(_ arguments: [String], _ line: String) throws {
    #expect(try CtlCommand.parse(["path"] + arguments).request().1 == line + "\n")
  }

  @Test("a reply is text, and an error is a message")
  func replies() throws {
    let line =
      #"{"id":1,"ok":1,"state":"ending","outcome":"quit","vcpus":2,"memory":1073741824,"devices":1,"#
      + #""device0":"0000:01:00.0","device0.state":"released","device0.windows":5,"device0.opened":3,"#
      + #""device0.vectors":9,"device0.used":2,"device0.later":"x","later":7}"#
    let reply = try #require(ControlConnection.Reply(line))
    #expect(reply.error == nil)
    #expect(
      reply.text(for: .status, timeout: nil)
        == "ending (quit), 2 vCPUs, 1024 MiB of RAM\n0000:01:00.0  released, windows opened 3 of 5, vectors used 2 of 9"
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
