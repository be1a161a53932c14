// SPDX-License-Identifier: Apache-2.0

import Fakes
import Foundation
import Linux
import Synchronization
import Testing
import Trace

@testable import VMM

/// A control socket on its thread. The test is the main thread.
final class ControlRig {
  let path: String
  let server: ControlServer
  let warnings = Warnings()
  private let thread: Linux.Thread
  private let directory: URL

  final class Warnings: Sendable { let all = Mutex<[String]>([]) }

  init(
    peers: ControlPeers = ControlPeers(user: geteuid(), overflow: 65534, isInOwnNamespace: false),
    status: @escaping @Sendable () -> ControlFields = { ControlFields() }
  ) throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "control-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    path = directory.appending(path: "socket").path
    let warnings = warnings
    let server = try ControlServer(
      ControlSocket(path: path), peers: peers, feed: EventFeed(), advice: { _ in "advice" },
      warn: { text in warnings.all.withLock { $0.append(text) } })
    self.server = server
    thread = try Linux.Thread(name: "socket") { server.run(status: status) }
  }

  /// Ends the thread.
  func finish() {
    server.exchange.finish()
    thread.join()
    try? FileManager.default.removeItem(at: directory)  // a temporary folder
  }

  /// Waits for the next operation.
  func next() throws -> ControlExchange.Request {
    #expect(try server.exchange.forMain.wait(milliseconds: 10_000))
    try server.exchange.forMain.take()
    return try #require(server.exchange.next())
  }

  /// Adds an event as a thread of a VM does.
  func emit(_ event: TraceEvent) {
    if server.feed.isWanted { server.feed.add(TraceRecord(time: 1, event: event).line) }
  }

  /// Connects a client that receives events.
  func subscriber() throws -> LineClient {
    let client = try LineClient(path)
    try client.send(#"{"id":0,"op":"events"}"#)
    #expect(client.next() == #"{"id":0,"ok":1}"#)
    return client
  }
}

/// The fields of a reply with an error.
struct ErrorReply: Equatable {
  let subject: String?
  let operation: String?
  let cause: String?

  /// Parses a line.
  init(_ line: String?) throws {
    let line = try #require(line)
    let object = try #require(FlatObject(line[...]))
    #expect(object.numbers["ok"] == "0" && object.strings["remedy"] == "advice")
    (subject, operation, cause) = (
      object.strings["subject"], object.strings["operation"], object.strings["cause"]
    )
  }

  /// The fields of an error.
  init(_ error: ControlError) {
    (subject, operation, cause) = (error.subject, error.operation, error.cause)
  }
}
