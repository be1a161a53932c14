// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Linux
import Logging
import Synchronization
import Testing
import Trace

@testable import Passthrough
@testable import VMM

@Suite struct EventLogTests {
  private let path = FileManager.default.temporaryDirectory.appending(
    path: "sluice-recorder-\(UUID().uuidString)"
  ).path

  private func eventLog() throws -> EventLog {
    try EventLog(
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, trace: path, start: Clock.microseconds())
  }

  private func events() throws -> [TraceEvent] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
      try #require(TraceRecord(line)).event
    }
  }

  @Test("the trace has pinned RAM, unpinned RAM, phases and the events of functions")
  func trace() throws {
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let eventLog = try eventLog()
    eventLog.phase("one")
    eventLog.pinned(iova: 0x1000, size: 0x2000, microseconds: 3)
    eventLog.unpinned(iova: 0x4000, size: 0x8000, microseconds: 5)
    eventLog.observer(of: "0000:00:05.0")(.lost(.released), 7)
    eventLog.trace?.finish()
    #expect(
      try events() == [
        .phase(name: "one"), .memory(.map, iova: 0x1000, size: 0x2000, microseconds: 3),
        .memory(.unmap, iova: 0x4000, size: 0x8000, microseconds: 5),
        .loss(device: "0000:00:05.0", .released, microseconds: 7),
      ])
  }

  @Test("the log has a warning with the advice for its reason, and the trace has the warning alone")
  func advice() throws {
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let log = CapturingLogHandler()
    let eventLog = try EventLog(
      log: Logger(label: "test") { _ in log }, trace: path, start: Clock.microseconds(),
      remedy: { $0 == .descriptorLimit ? "raise it" : nil })
    let observe = eventLog.observer(of: "0000:00:05.0")
    observe(.warning(FunctionWarning("no eventfd", .descriptorLimit)), 0)
    observe(.warning(FunctionWarning("no reset", .foreignDevices([]))), 0)
    observe(.warning("no vector"), 0)
    eventLog.trace?.finish()
    #expect(
      log.messages.withLock { $0 } == [
        "device 0000:00:05.0: no eventfd; raise it", "device 0000:00:05.0: no reset",
        "device 0000:00:05.0: no vector",
      ])
    #expect(
      try events()
        == ["no eventfd", "no reset", "no vector"].map {
          .warning(device: "0000:00:05.0", text: $0)
        })
  }

  @Test("a phase is written to the file as soon as it is reached")
  func flushed() throws {
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let eventLog = try eventLog()
    try eventLog.startTrace()
    eventLog.phase("one")
    var isThere = false
    for _ in 0..<10_000 where !isThere {
      isThere = try events() == [.phase(name: "one")]
      usleep(1000)
    }
    #expect(isThere)
    eventLog.trace?.finish()
  }

  @Test("the summary has the outcome and the phases")
  func summary() throws {
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let eventLog = try eventLog()
    eventLog.phase("first-instruction")
    let text = eventLog.summary([], outcome: .quit)
    #expect(text.hasPrefix("summary: \(Outcome.quit.name)\n") && text.hasSuffix("  first-instruction\n"))
    eventLog.trace?.finish()
  }
}

/// Keeps the messages of a log.
private final class CapturingLogHandler: LogHandler {
  let messages = Mutex<[String]>([])
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .trace }
    set {}
  }
  subscript(metadataKey _: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }
  func log(event: LogEvent) { messages.withLock { $0.append("\(event.message)") } }
}

/// The console's side of the transmitter.
@Suite struct ConsoleOutputTests {
  @Test("the output is watched only while the transmitter holds bytes that it does not accept")
  func send() throws {
    let wire = Wire()
    let serial = try Serial { wire.take($0) }
    let input = try EventFD()
    let output = try EventFD()
    var console = Console(serial: serial, isTerminal: false, input: input.number, output: output.number)
    let loop = try Epoll()
    // An eventfd always has room.
    func isWatched() throws -> Bool { try loop.next(within: 0) == EventSource.output.rawValue }
    for _ in 0..<2 {
      wire.room.withLock { $0 = 0 }
      serial.write(0, 0x41)
      for _ in 0..<2 {
        try console.send(loop)
        #expect(try isWatched())
      }
      wire.room.withLock { $0 = .max }
      for _ in 0..<2 {
        try console.send(loop)
        #expect(try !isWatched())
      }
    }
    #expect(wire.bytes == [0x41, 0x41])
  }
}
