// SPDX-License-Identifier: Apache-2.0

import CProbes
import Fakes
import Foundation
import Linux
import Passthrough
import Seams
import Synchronization
import Testing
import Trace

@testable import VMM

@Suite struct ControlServerTests {
  private static let status = #"{"id":1,"op":"status"}"#
  private static let device = "0000:01:00.0"

  private static func remove(_ id: Int, _ device: String = device) -> String {
    #"{"id":\#(id),"op":"remove","device":"\#(device)"}"#
  }

  @Test("a client sends several requests and receives the replies in order")
  func requests() throws {
    let rig = try ControlRig {
      var fields = ControlFields()
      fields.put("state", "running")
      return fields
    }
    let client = try LineClient(rig.path)
    try client.send(Array((Self.status + "\nnonsense\n" + Self.status + "\n").utf8))
    client.endSending()
    #expect(client.next() == #"{"id":1,"ok":1,"state":"running"}"#)
    #expect(try ErrorReply(client.next()) == ErrorReply(.notAnObject))
    #expect(client.next() == #"{"id":1,"ok":1,"state":"running"}"#)
    #expect(client.waitForEnd(), "the server closes the connection of a client that has left")
    rig.finish()
  }

  @Test("the main thread performs an operation, and other clients receive replies during it")
  func operation() throws {
    let rig = try ControlRig()
    let (one, two) = (try LineClient(rig.path), try LineClient(rig.path))
    try one.send(Self.remove(7))
    try one.send(Self.status)
    let request = try rig.next()
    #expect(request.operation == .remove(device: Self.device, timeout: nil))
    try two.send(Self.status)
    #expect(two.next() == #"{"id":1,"ok":1}"#)
    #expect(one.next(milliseconds: 50) == nil, "a client has one request at a time")
    rig.server.exchange.complete(request, .success(ControlFields()))
    #expect(one.next() == #"{"id":7,"ok":1}"#)
    #expect(one.next() == #"{"id":1,"ok":1}"#)
    rig.finish()
  }

  @Test("a device has one operation at a time")
  func busy() throws {
    let rig = try ControlRig()
    let (one, two) = (try LineClient(rig.path), try LineClient(rig.path))
    try one.send(Self.remove(1))
    let request = try rig.next()
    try two.send(Self.remove(2, "01:00.0"))
    #expect(try ErrorReply(two.next()) == ErrorReply(.busy(device: Self.device, .remove)))
    // Another device, and the end of the VM, are not busy.
    try two.send(Self.remove(3, "0000:02:00.0"))
    rig.server.exchange.complete(try rig.next(), .success(ControlFields()))
    #expect(two.next() == #"{"id":3,"ok":1}"#)
    try two.send(#"{"id":4,"op":"stop"}"#)
    rig.server.exchange.complete(try rig.next(), .success(ControlFields()))
    #expect(two.next() == #"{"id":4,"ok":1}"#)
    rig.server.exchange.complete(request, .failure(.noDevice(Self.device, .remove)))
    #expect(try ErrorReply(one.next()) == ErrorReply(.noDevice(Self.device, .remove)))
    try two.send(Self.remove(5))
    rig.server.exchange.complete(try rig.next(), .success(ControlFields()))
    #expect(two.next() == #"{"id":5,"ok":1}"#)
    rig.finish()
  }

  @Test("the result of a client that has left is dropped, and its device is free again")
  func left() throws {
    let rig = try ControlRig()
    var client: LineClient? = try LineClient(rig.path)
    try client?.send(Self.remove(1))
    let request = try rig.next()
    client = nil
    rig.server.exchange.complete(request, .success(ControlFields()))
    let other = try LineClient(rig.path)
    try other.send(Self.remove(2))
    rig.server.exchange.complete(try rig.next(), .success(ControlFields()))
    #expect(other.next() == #"{"id":2,"ok":1}"# && client == nil)
    rig.finish()
  }

  @Test("a ninth client is refused with a reply, until another client leaves")
  func clients() throws {
    let rig = try ControlRig()
    var clients = try (0..<8).map { _ in try LineClient(rig.path) }
    for client in clients {
      try client.send(Self.status)
      #expect(client.next() != nil)
    }
    let ninth = try LineClient(rig.path)
    #expect(try ErrorReply(ninth.next()) == ErrorReply(.tooManyClients))
    #expect(ninth.waitForEnd())
    clients.removeLast()
    // The server notices the end of the eighth client before or after it accepts the next one.
    var isServed = false
    for _ in 0..<100 where !isServed {
      let next = try LineClient(rig.path)
      do { try next.send(Self.status) } catch {}  // the server may have closed the connection
      isServed = next.next() == #"{"id":1,"ok":1}"#
      clients.append(next)
      if !isServed { usleep(10_000) }
    }
    #expect(isServed)
    rig.finish()
  }

  @Test("a line of 4096 bytes is a request, and a longer line closes the connection after a reply")
  func length() throws {
    let rig = try ControlRig()
    let client = try LineClient(rig.path)
    let padding = String(repeating: " ", count: 4096 - Self.status.utf8.count)
    try client.send(Self.status + padding)
    #expect(client.next() == #"{"id":1,"ok":1}"#)
    try client.send(Self.status + padding + " ")
    #expect(try ErrorReply(client.next()) == ErrorReply(.tooLong))
    #expect(client.next() == nil && client.isClosed)
    // A line without an end is refused at its 4097th byte.
    let endless = try LineClient(rig.path)
    try endless.send([UInt8](repeating: 0x20, count: 4097))
    #expect(try ErrorReply(endless.next()) == ErrorReply(.tooLong))
    #expect(endless.waitForEnd())
    rig.finish()
  }

  @Test("events arrive at subscribers only, and in order")
  func events() throws {
    let rig = try ControlRig()
    let other = try LineClient(rig.path)
    #expect(!rig.server.feed.isWanted)
    let client = try rig.subscriber()
    for index in 0..<1000 { rig.emit(.phase(name: "\(index)")) }
    for index in 0..<1000 {
      #expect(client.next() == #"{"time":1,"event":"phase","name":"\#(index)"}"#)
    }
    try client.send(Self.status)
    #expect(client.next() == #"{"id":1,"ok":1}"#, "a subscriber can send more requests")
    try other.send(Self.status)
    #expect(other.next() == #"{"id":1,"ok":1}"#, "no event arrived")
    client.endSending()
    #expect(client.waitForEnd())
    for _ in 0..<1000 where rig.server.feed.isWanted { usleep(1000) }
    #expect(!rig.server.feed.isWanted, "without a subscriber no event is encoded")
    rig.finish()
  }

  @Test("a subscriber with more than 64 KiB of unread events is closed, and other clients are not")
  func slowSubscriber() throws {
    let rig = try ControlRig()
    let (slow, fast) = (try rig.subscriber(), try rig.subscriber())
    let text = String(repeating: "x", count: 1000)
    // The kernel's buffer of a socket has less than 1 MiB.
    for _ in 0..<2000 {
      rig.emit(.phase(name: text))
      #expect(fast.next() != nil)
    }
    var received = 0
    while slow.next() != nil { received += 1 }
    #expect(slow.isClosed && received < 2000)
    #expect(!fast.isClosed)
    rig.finish()
  }

  @Test("a loss of events before they reach the thread closes all subscribers")
  func overflow() throws {
    let rig = try ControlRig()
    let client = try rig.subscriber()
    let text = String(repeating: "x", count: EventFeed.capacity)
    rig.emit(.phase(name: text))
    #expect(client.waitForEnd())
    rig.finish()
  }

  @Test("a process of another user receives a reply with the cause and is closed")
  func peers() throws {
    let peers = ControlPeers(user: geteuid() + 1, overflow: 65534, isInOwnNamespace: true)
    let rig = try ControlRig(peers: peers)
    let client = try LineClient(rig.path)
    #expect(try ErrorReply(client.next()) == ErrorReply(.notPermitted))
    #expect(client.waitForEnd())
    rig.finish()
  }

  @Test("without a free descriptor, one warning is logged per second, and the client is served later")
  func noDescriptor() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let rig = try ControlRig()
      let free = dup(0)
      var limit = rlimit(rlim_cur: rlim_t(free) + 1, rlim_max: rlim_t(free) + 1)
      // SAFETY: the struct lives for the call.
      guard unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { _exit(1) }
      while dup(0) >= 0 {}
      Foundation.close(free)
      let client = try LineClient(rig.path)
      try client.send(Self.status)
      guard client.next(milliseconds: 300) == nil else { _exit(2) }
      let warnings = rig.warnings.all.withLock { $0 }
      guard warnings == ["control socket: accept4: Too many open files: no client for a second"] else {
        _exit(3)
      }
      Foundation.close(0)
      _exit(client.next() == #"{"id":1,"ok":1}"# ? 7 : 4)
    }
  }

  /// Returns the numbers by which this process has a file open, also a removed file.
  private static func numbers(of file: String) throws -> [String] {
    // A descriptor may be closed during the listing.
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter {
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.hasPrefix(file)
        ?? false
    }
  }

  @Test("the descriptors of a request reach the main thread in order, and are closed with it")
  func descriptors() throws {
    let rig = try ControlRig()
    let client = try LineClient(rig.path)
    let files = try ["a", "b"].map { SharedDescriptor(try OwnedDescriptor(opening: rig.path + $0, .replace)) }
    let line = #"{"id":1,"op":"add","device":"\#(Self.device)","files":"group.7 devices"}"#
    try client.send(line, passing: files.map(\.number))
    let request = try rig.next()
    let open = try request.descriptors.map {
      try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0.number)")
    }
    #expect(open == [rig.path + "a", rig.path + "b"])
    for descriptor in request.descriptors { descriptor.close() }
    rig.server.exchange.complete(request, .success(ControlFields()))
    #expect(client.next() == #"{"id":1,"ok":1}"#)
    // Too few and too many.
    for count in [0, 1] {
      try client.send(line, passing: files[..<count].map(\.number))
      #expect(try ErrorReply(client.next()) == ErrorReply(.descriptorCount(names: 2, sent: count, .add)))
    }
    try client.send(line, passing: files.map(\.number) + [0])
    #expect(try ErrorReply(client.next()) == ErrorReply(.descriptorCount(names: 2, sent: 3, .add)))
    rig.finish()
    #expect(try Self.numbers(of: rig.path + "a") == ["\(files[0].number)"])
  }

  @Test(
    "a client that sends more descriptors than a request can have loses its connection, and they are closed")
  func tooManyDescriptors() throws {
    let rig = try ControlRig()
    let client = try LineClient(rig.path)
    let file = rig.path + ".file"
    let passed = try OwnedDescriptor(opening: file, .replace)
    try client.send(Self.status, passing: [Int32](repeating: passed.number, count: 8))
    #expect(client.next() == #"{"id":1,"ok":1}"#)
    try client.send(Self.status, passing: [passed.number])
    #expect(client.waitForEnd())
    rig.finish()
    #expect(try Self.numbers(of: file) == ["\(passed.number)"])
  }

  @Test("at the end of the VM, waiting clients receive a reply and subscribers the last events")
  func end() throws {
    let rig = try ControlRig()
    let (client, subscriber) = (try LineClient(rig.path), try rig.subscriber())
    try client.send(Self.remove(1))
    _ = try rig.next()
    rig.emit(.phase(name: "last"))
    rig.finish()
    #expect(try ErrorReply(client.next()) == ErrorReply(.ending(.remove)))
    #expect(subscriber.next() == #"{"time":1,"event":"phase","name":"last"}"#)
    #expect(client.waitForEnd() && subscriber.waitForEnd())
    #expect(rig.warnings.all.withLock { $0 } == [])
  }

  @Test("a subscriber that does not read delays the end of the VM by at most a second")
  func slowEnd() throws {
    let rig = try ControlRig()
    let client = try rig.subscriber()
    // Until the kernel accepts no more bytes of the server.
    var hasRoom = true
    while hasRoom {
      let before = client.unread
      rig.emit(.phase(name: String(repeating: "x", count: 1000)))
      hasRoom = (0..<100).contains { _ in
        usleep(1000)
        return client.unread > before
      }
    }
    let start = Clock.microseconds()
    rig.finish()
    let time = Clock.microseconds() - start
    #expect(time > 200_000 && time < 1_000_000)
    #expect(client.waitForEnd())
  }
}
