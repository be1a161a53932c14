// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Gate
import Logging
import Synchronization
import Testing
import Trace

@testable import Passthrough
@testable import VMM

@Suite struct TraceWriterTests {
  private let path = FileManager.default.temporaryDirectory.appending(
    path: "sluice-trace-\(UUID().uuidString)"
  ).path

  /// Returns the file's lines, parsed as JSON.
  private func objects() throws -> [[String: Any]] {
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.isEmpty || text.hasSuffix("\n"))
    return try text.split(separator: "\n").map { line in
      try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
  }

  private static let span = FunctionEvent.WindowSpan(bar: 2, window: 3, address: 0xC000_4000, size: 4096)

  @Test("every event is one line of JSON with the fields of the event")
  func events() throws {
    let trace = try TraceWriter(path: path, start: Clock.microseconds())
    let device = "0000:01:00.0"
    trace.record(TraceEvent(device, .gate(Self.span, from: .armed, to: .open, .access), microseconds: 5))
    trace.record(TraceEvent(device, .command(old: 0x406, new: 0x404), microseconds: 6))
    trace.record(TraceEvent(device, .peer(.map, Self.span, space: 1), microseconds: 7))
    trace.record(TraceEvent(device, .peer(.unmap, Self.span, space: 1), microseconds: 8))
    trace.record(TraceEvent(device, .vector(9, .allocate), microseconds: 9))
    trace.record(TraceEvent(device, .reset(.handBack, .bus), microseconds: 10))
    trace.record(TraceEvent(device, .interrupts(.msi, count: 4), microseconds: 11))
    trace.record(TraceEvent(device, .lost(.isolated), microseconds: 12))
    trace.record(TraceEvent(device, .warning("a \"quoted\"\nline"), microseconds: 13))
    trace.finish()
    #expect(trace.failure == nil)
    let objects = try objects()
    #expect(
      objects.map { $0["event"] as? String } == [
        "gate", "command", "dma", "dma", "vector", "reset", "interrupts", "device", "warning",
      ])
    #expect(objects.allSatisfy { $0["device"] as? String == device })
    #expect(objects.dropLast().map { $0["us"] as? Int } == [5, 6, 7, 8, 9, 10, 11, 12])
    let gate = objects[0]
    #expect(gate["bar"] as? Int == 2 && gate["window"] as? Int == 3 && gate["size"] as? Int == 4096)
    #expect(gate["from"] as? String == "armed" && gate["to"] as? String == "open")
    #expect(gate["why"] as? String == "access" && gate["gpa"] as? String == "0xc0004000")
    #expect(objects[1]["old"] as? String == "0x406" && objects[1]["new"] as? String == "0x404")
    #expect(objects[2]["op"] as? String == "map" && objects[3]["op"] as? String == "unmap")
    #expect(objects[2]["iova"] as? String == "0xc0004000")
    #expect(objects[4]["vector"] as? Int == 9 && objects[4]["op"] as? String == "allocate")
    #expect(objects[2]["container"] as? Int == 1)
    #expect(objects[5]["why"] as? String == "hand-back" && objects[5]["method"] as? String == "bus")
    #expect(objects[6]["mode"] as? String == "msi" && objects[6]["vectors"] as? Int == 4)
    #expect(objects[7]["state"] as? String == "isolated")
    #expect(objects[8]["text"] as? String == "a \"quoted\"\nline")
  }

  @Test("the trace has the same words as a function's event")
  func words() {
    var words: [(FunctionEvent, [String])] = []
    for reason in [
      .access, .command, .move, .power, .reset, .fault, .shutdown, .error, .release,
    ] as [TraceEvent.WindowReason] {
      words.append(
        (.gate(Self.span, from: .closed, to: .armed, reason), ["closed", "armed", "\(reason)"]))
    }
    words.append((.gate(Self.span, from: .armed, to: .open, .access), ["armed", "open", "access"]))
    for mode in [.none, .intx, .msi, .msix] as [TraceEvent.InterruptMode] {
      words.append((.interrupts(mode, count: 1), ["\(mode)"]))
    }
    for change in [.allocate, .unmask, .mask, .route] as [TraceEvent.VectorOperation] {
      words.append((.vector(1, change), ["\(change)"]))
    }
    for (reason, word) in [
      (.start, "start"), (.flr, "flr"), (.power, "power"), (.handBack, "hand-back"),
    ] as [(TraceEvent.ResetReason, String)] {
      words.append((.reset(reason, .function), [word, "function"]))
    }
    for state in [.isolated, .released] as [TraceEvent.DeviceState] {
      words.append((.lost(state), ["\(state)"]))
    }
    for (event, expected) in words {
      #expect(Self.words(of: TraceEvent("d", event, microseconds: 0)) == expected)
    }
  }

  private static func words(of event: TraceEvent) -> [String] {
    switch event {
    case .gate(_, let from, let to, let why, _): [from.rawValue, to.rawValue, why.rawValue]
    case .interrupts(_, let mode, _, _): [mode.rawValue]
    case .vector(_, _, let operation, _): [operation.rawValue]
    case .reset(_, let why, let method, _): [why.rawValue, method.rawValue]
    case .loss(_, let state, _): [state.rawValue]
    default: []
    }
  }

  /// Waits until the file has enough lines and returns their number, or returns 0 after 10 seconds.
  private func lines(atLeast count: Int) throws -> Int {
    for _ in 0..<1000 {
      let written = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").count
      if written >= count { return written }
      usleep(10_000)
    }
    return 0
  }

  @Test("records are written in order, after a flush and after a full batch")
  func order() throws {
    let trace = try TraceWriter(path: path, start: Clock.microseconds())
    trace.record(.phase(name: "0"), flush: true)
    #expect(try String(contentsOfFile: path, encoding: .utf8).isEmpty, "the record waits for the writer")
    try trace.begin()
    #expect(try lines(atLeast: 1) == 1)
    trace.record(.phase(name: "1"))
    #expect(try lines(atLeast: 1) == 1, "the record is buffered")
    trace.record(.phase(name: "2"), flush: true)
    #expect(try lines(atLeast: 3) == 3)
    for number in 3..<2000 { trace.record(.phase(name: "\(number)")) }
    #expect(try lines(atLeast: 500) > 500, "a batch is 32 KiB")
    trace.finish()
    let objects = try objects()
    #expect(objects.map { $0["name"] as? String } == (0..<2000).map { "\($0)" })
    let times = objects.compactMap { $0["time"] as? Int }
    #expect(times == times.sorted() && times.count == 2000)
  }

  @Test("a full disk is reported with its error and the number of lost records")
  func full() throws {
    let trace = try TraceWriter(path: "/dev/full", start: 0)
    for number in 0..<3 { trace.record(.phase(name: "\(number)")) }
    #expect(trace.failure == nil)
    trace.finish()
    #expect(trace.failure?.error.errno == ENOSPC)
    #expect(trace.failure?.lost == 3)
    trace.record(.phase(name: "3"), flush: true)
    trace.finish()
    #expect(trace.failure?.lost == 4)
  }

  private final class Warnings: Sendable {
    let all = Mutex<[String]>([])
  }

  @Test("a file that accepts no bytes ends the trace with one warning and a last record")
  func stuck() throws {
    // SAFETY: the path lives for the call.
    #expect(unsafe mkfifo(path, 0o600) == 0)
    let reader = try OwnedDescriptor(opening: path, .readWrite)
    let warnings = Warnings()
    let trace = try TraceWriter(
      path: path, start: Clock.microseconds(),
      warn: { warning in warnings.all.withLock { $0.append(warning) } })
    try trace.begin()
    let name = String(repeating: "x", count: 1000)
    // The records exceed the pipe and the buffer.
    for _ in 0..<2000 { trace.record(.phase(name: name)) }
    trace.finish()
    #expect(warnings.all.withLock { $0.count } == 1)
    #expect(warnings.all.withLock { $0.first }?.contains("no progress") == true)
    #expect(trace.failure == nil)
    var text = ""
    while !text.contains("truncated") {
      text += String(decoding: try reader.read(upTo: 65536), as: UTF8.self)
    }
    try FileManager.default.removeItem(atPath: path)
    let events = text.split(separator: "\n")
    #expect(events.count > 1000 && events.dropLast().allSatisfy { $0.contains("\"event\":\"phase\"") })
    #expect(events.last?.contains("\"event\":\"truncated\"") == true)
  }

  @Test("records that wait for the writer and cannot be written are no error of the start")
  func fullAtStart() throws {
    let trace = try TraceWriter(path: "/dev/full", start: 0)
    trace.record(.phase(name: "one"), flush: true)
    #expect(throws: Never.self) { try trace.begin() }
    trace.finish()
    #expect(trace.failure?.error.errno == ENOSPC && trace.failure?.lost == 1)
    let refused = try TraceWriter(
      path: "/dev/null", start: 0,
      confine: { () throws(KernelError) in throw KernelError("seccomp", errno: EINVAL) })
    #expect(throws: KernelError("seccomp", errno: EINVAL)) { try refused.begin() }
  }

  @Test("a file that cannot be created is named in the error")
  func unwritable() {
    #expect(throws: KernelError("open /nonexistent/trace", errno: ENOENT)) {
      try TraceWriter(path: "/nonexistent/trace", start: 0)
    }
  }

  @Test("the trace has the phases, and the summary has their times")
  func eventLog() throws {
    let eventLog = try EventLog(log: Logger(label: "test"), trace: path, start: Clock.microseconds())
    eventLog.phase("program-started")
    eventLog.pinned(iova: 0x1_0000_0000, size: 1 << 30, microseconds: 12)
    eventLog.observer(of: "0000:02:00.0")(.vector(1, .mask), 3)
    eventLog.phase("power-off")
    eventLog.trace?.finish()
    let objects = try objects()
    #expect(objects.map { $0["event"] as? String } == ["phase", "dma", "vector", "phase"])
    #expect(objects[0]["name"] as? String == "program-started")
    #expect(objects[1]["iova"] as? String == "0x100000000" && objects[1]["what"] as? String == "ram")
    let lines = eventLog.summary([], outcome: .powerOff).split(separator: "\n")
    #expect(lines.first == "summary: power-off")
    #expect(lines.count == 3 && lines[1].hasSuffix("program-started") && lines[2].hasSuffix("power-off"))
    #expect(lines[2].contains(" ms (+"))
  }
}
