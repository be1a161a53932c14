// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct TraceScanTests {
  private static let device = #""device":"0000:00:06.0""#

  private static func gate(_ from: String, _ to: String) -> String {
    #"{"time":20,"event":"gate",\#(device),"bar":0,"window":1,"from":"\#(from)","to":"\#(to)","why":"command"}"#
  }

  private static func dma(_ op: String, container: Int = 0) -> String {
    #"{"time":21,"event":"dma","op":"\#(op)","what":"bar",\#(device),"bar":0,"window":1,"container":\#(container)}"#
  }

  private static func command(_ old: String, _ new: String) -> String {
    #"{"time":30,"event":"command",\#(device),"old":"\#(old)","new":"\#(new)","us":1}"#
  }

  private static let reset = #"{"time":40,"event":"reset",\#(device),"why":"flr","method":"function","us":1}"#
  private static let on = command("0x0", "0x2")
  private static let off = command("0x2", "0x0")

  private func faults(_ lines: String...) throws -> Int {
    var scan = TraceScan()
    for line in lines { scan.take(try TraceRecord(line: Array(line.utf8)[...])) }
    return scan.faults.count
  }

  @Test("accepts a write and a reset after all windows and IOVAs are removed")
  func rightOrder() throws {
    let open = Self.gate("armed", "open")
    let close = Self.gate("open", "closed")
    #expect(try faults(Self.on, open, Self.dma("map"), Self.dma("unmap"), close, Self.off) == 0)
    #expect(try faults(Self.on, open, Self.dma("map"), Self.dma("unmap"), close, Self.reset) == 0)
  }

  @Test("finds a window or an IOVA that remains")
  func wrongOrder() throws {
    let open = Self.gate("armed", "open")
    let close = Self.gate("open", "closed")
    #expect(try faults(Self.on, open, Self.off) == 1)
    #expect(try faults(Self.on, open, Self.reset) == 1)
    #expect(try faults(Self.on, open, Self.dma("map"), close) == 1)
    #expect(
      try faults(Self.on, open, Self.dma("map"), Self.dma("map", container: 1), Self.dma("unmap"), close) == 1
    )
    #expect(try faults(Self.on, Self.off, open) == 1)
  }

  private static func slot(_ state: String) -> String {
    #"{"time":50,"event":"slot",\#(device),"state":"\#(state)"}"#
  }

  @Test("accepts windows of a device that its port reaches, also while the device leaves")
  func slots() throws {
    let (open, close) = (Self.gate("armed", "open"), Self.gate("open", "closed"))
    let arm = Self.gate("closed", "armed")
    #expect(
      try faults(
        Self.slot("enabled"), Self.on, arm, open, close, Self.slot("contained"), Self.slot("resetting"),
        Self.slot("enabled"), arm, open, Self.slot("leaving"), close, arm, open, close, Self.slot("gone"),
        Self.slot("present"), Self.slot("enabled"), arm, open) == 0)
  }

  @Test(
    "finds a window of a device that its port does not reach",
    arguments: ["present", "contained", "resetting", "gone"])
  func closedSlots(_ state: String) throws {
    let (open, arm) = (Self.gate("armed", "open"), Self.gate("closed", "armed"))
    #expect(try faults(Self.slot("enabled"), Self.on, Self.slot(state), arm) == 1)
    #expect(try faults(Self.slot("enabled"), Self.on, Self.slot(state), open) == 1)
    #expect(try faults(Self.slot("enabled"), Self.on, open, Self.slot(state)) == 1)
    #expect(try faults(Self.slot("enabled"), Self.on, open, Self.dma("map"), Self.slot(state)) == 2)
  }

  @Test("finds a device that lives on after it was gone")
  func gone() throws {
    #expect(try faults(Self.slot("gone"), Self.slot("contained")) == 1)
    #expect(try faults(#"{"time":50,"event":"slot","state":"enabled"}"#) == 1)
  }

  @Test("finds an access to a contained device, and a slot that is enabled without a reset")
  func contained() throws {
    let reset = #"{"time":50,"event":"reset",\#(Self.device),"why":"slot","method":"function","us":1}"#
    let vector = #"{"time":50,"event":"vector",\#(Self.device),"vector":0,"op":"mask"}"#
    let command = #"{"time":50,"event":"command",\#(Self.device),"old":"0x0","new":"0x2"}"#
    #expect(
      try faults(Self.slot("contained"), Self.slot("resetting"), reset, Self.slot("enabled"), vector) == 0)
    #expect(try faults(Self.slot("contained"), vector) == 1)
    #expect(try faults(Self.slot("contained"), command) == 1)
    #expect(try faults(Self.slot("contained"), Self.slot("enabled")) == 1)
  }

  @Test("finds a record without its window or its device")
  func incomplete() throws {
    #expect(try faults(#"{"time":1,"event":"gate","device":"d","bar":0,"why":"access"}"#) == 1)
    #expect(try faults(#"{"time":1,"event":"dma","op":"map","what":"bar","device":"d"}"#) == 1)
    #expect(try faults(#"{"time":1,"event":"command","new":"0x2"}"#) == 1)
  }

  @Test("parses a record whose text has quotes and braces")
  func line() throws {
    let text = #"{"time":1,"event":"warning",\#(Self.device),"text":"a \"b\", {c}: -1"}"#
    let record = try TraceRecord(line: Array(text.utf8)[...])
    #expect(record.event == "warning")
    #expect(record.text == #"a \"b\", {c}: -1"#)
    #expect(record.device == "0000:00:06.0")
    #expect(record.time == "1")
    #expect(record.why == nil)
  }

  @Test("reads a file in pieces")
  func pieces() throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "trace-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: file) }  // only a leftover
    // The file has more than one piece, so that a line crosses the end of a piece.
    let count = 12_000
    let lines = (0..<count).map { $0 % 2 == 0 ? Self.gate("armed", "open") : Self.gate("open", "armed") }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file)
    var scan = TraceScan()
    try scan.read(file)
    #expect(scan.records == count)
    #expect(scan.gates == count)
    #expect(scan.faults.isEmpty)
  }

  @Test("the name of a case contains its seconds and its seed")
  func names() {
    #expect(Torture(named: "torture-60-7")?.seed == 7)
    #expect(Torture(named: "torture-60-7")?.asCase.name == "torture-60-7")
    #expect(Torture(named: "torture") == nil)
    #expect(Torture(named: "torture-ports-500-3")?.asCase.name == "torture-ports-500-3")
    #expect(Torture(named: "torture-ports-500-3")?.events == 500)
    #expect(Torture(named: "memory-enable-ivshmem") == nil)
  }
}
