// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct TraceTests {
  private static let start = #"{"time":10,"event":"phase","name":"first-instruction"}"#
  private static let device = #""device":"0000:00:06.0""#

  private static func gate(_ from: String, _ to: String, _ why: String, time: Int = 20) -> String {
    #"{"time":\#(time),"event":"gate",\#(device),"bar":0,"window":1,"from":"\#(from)","to":"\#(to)","#
      + #""why":"\#(why)","gpa":"0xc0000000","size":4096,"us":3}"#
  }

  private static func dma(_ op: String) -> String {
    #"{"time":21,"event":"dma","op":"\#(op)","what":"bar",\#(device),"bar":0,"window":1,"iova":"0xc0000000"}"#
  }

  private static func command(_ old: String, _ new: String) -> String {
    #"{"time":30,"event":"command",\#(device),"old":"\#(old)","new":"\#(new)","us":1}"#
  }

  private func trace(_ lines: String...) throws -> Trace { try Trace(lines.joined(separator: "\n")) }

  @Test("a window that opens at an access is lazy")
  func lazy() throws {
    let trace = try trace(Self.start, Self.gate("armed", "open", "access"), Self.dma("map"))
    #expect(trace.violationsOfLaziness().isEmpty)
    #expect(trace.openedWindows.count == 1)
  }

  @Test("a window that opens without an access, before the start, or only in the IOMMU is not lazy")
  func eager() throws {
    #expect(try !trace(Self.start, Self.gate("closed", "open", "enable")).violationsOfLaziness().isEmpty)
    #expect(try !trace(Self.gate("armed", "open", "access"), Self.start).violationsOfLaziness().isEmpty)
    #expect(try !trace(Self.start, Self.dma("map")).violationsOfLaziness().isEmpty)
    #expect(try !trace(Self.gate("armed", "open", "access")).violationsOfLaziness().isEmpty)
  }

  @Test("finds a guest that uses a device before the reset at the start")
  func start() throws {
    func reset(_ why: String) -> String {
      #"{"time":25,"event":"reset",\#(Self.device),"why":"\#(why)","method":"function","us":1}"#
    }
    let write = Self.command("0x0", "0x2")
    #expect(try trace(Self.start, reset("start"), write, reset("flr")).violationsOfStarting().isEmpty)
    #expect(try trace(Self.start, write, reset("start")).violationsOfStarting().count == 1)
  }

  @Test("accepts a window that closes before the write")
  func rightOrder() throws {
    let trace = try trace(
      Self.start, Self.gate("armed", "open", "access"), Self.dma("map"),
      Self.gate("open", "closed", "command"),
      Self.dma("unmap"), Self.command("0x6", "0x4"))
    #expect(trace.violationsOfClosing().isEmpty)
    #expect(trace.clearingWrites == 1)
  }

  @Test("finds a write before the memory slot or the IOVA is removed")
  func wrongOrder() throws {
    let open = Self.gate("armed", "open", "access")
    let write = Self.command("0x6", "0x4")
    let slot = try trace(Self.start, open, write, Self.gate("open", "closed", "command"))
    #expect(slot.violationsOfClosing().count == 1)
    let iova = try trace(
      Self.start, open, Self.dma("map"), Self.gate("open", "closed", "command"), write, Self.dma("unmap"))
    #expect(iova.violationsOfClosing().count == 1)
  }

  @Test(
    "counts only writes that clear the memory bit",
    arguments: [("0x6", "0x2"), ("0x0", "0x0"), ("0x0", "0x2"), ("0x4", "0x0")])
  func otherBits(old: String, new: String) throws {
    #expect(try trace(Self.start, Self.command(old, new)).clearingWrites == 0)
  }

  @Test(
    "rejects a line that is not a record",
    arguments: [
      "{", "{}", "}", #"{"time":1}"#, #"{"event":"phase"}"#, #"{"time":1,"event":"phase"}}"#,
      #"{"time":1,"event":"phase""#, #"{"time":1,"event":"phase","name"}"#, #"{"time":1,"event":"phase,"#,
      #"{"time":1,"event":"phase",}"#, #"{"time":,"event":"phase"}"#, #"{"time":1 "event":"phase"}"#,
      #"{"time":1,"event":"a\"}"#, #"{"time":x,"event":"phase"}"#,
    ])
  func noRecord(_ line: String) {
    #expect(throws: Failed.self) { try Trace(line) }
  }

  private static func lost(_ state: String) -> String {
    #"{"time":40,"event":"device",\#(device),"state":"\#(state)","us":1}"#
  }

  @Test("a removed device has no mappings, and the trace has an event of its removal")
  func departure() throws {
    let address = "0000:00:06.0"
    let open = Self.gate("armed", "open", "access")
    let close = Self.gate("open", "closed", "release")
    let good = try trace(open, Self.dma("map"), close, Self.dma("unmap"), Self.lost("released"))
    #expect(good.violationsOfRemoval(of: address).isEmpty)
    let bad = [
      try trace(open, Self.lost("released"), close), try trace(open, close),
      try trace(open, Self.dma("map"), close, Self.lost("isolated"), Self.dma("unmap")),
      try trace(open, close, Self.lost("isolated"), open),
    ]
    for trace in bad { #expect(trace.violationsOfRemoval(of: address).count == 1) }
  }

  @Test("finds a reset while a window is open or in the IOMMU")
  func reset() throws {
    let open = Self.gate("armed", "open", "access")
    let close = Self.gate("open", "closed", "command")
    let reset = #"{"time":50,"event":"reset",\#(Self.device),"why":"flr","method":"function","us":1}"#
    #expect(try trace(open, close, reset).faultsOfResetting().isEmpty)
    #expect(try trace(open, Self.dma("map"), close, Self.dma("unmap"), reset).faultsOfResetting().isEmpty)
    #expect(try trace(open, reset, close).faultsOfResetting().count == 1)
    #expect(try trace(open, Self.dma("map"), close, reset).faultsOfResetting().count == 1)
  }
}
