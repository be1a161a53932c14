// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// The random clients of one VM.
struct FuzzedRun {
  private let path: String
  private var lines: FuzzedLine
  private var clients: [Slot] = []
  private var counts = (connections: 0, bytes: 0, replies: 0, checks: 0)
  /// Files of several kinds, to pass as the descriptors of a device.
  private var files: [OwnedFile] = []

  /// One more than the VM accepts.
  private static let mostClients = 9

  /// A place for a client.
  private final class Slot {
    var client: FuzzedClient?
    /// The bytes that the client has yet to send.
    var rest: ArraySlice<UInt8> = []
    /// The number of descriptors that the client sends with them.
    var descriptors = 0
  }

  private final class OwnedFile {
    let descriptor: OwnedDescriptor
    init(_ path: String) throws { descriptor = try OwnedDescriptor(opening: path, .readWrite) }
  }

  init(path: String, seed: Int) throws {
    self.path = path
    lines = FuzzedLine(seed: UInt64(seed))
    clients = (0..<Self.mostClients).map { _ in Slot() }
    for name in ["/dev/null", "/dev/zero", "/dev/kvm", "/dev/vfio/vfio", "/dev/ptmx"]
    where FileManager.default.fileExists(atPath: name) { files.append(try OwnedFile(name)) }
  }

  var summary: String {
    "\(counts.connections) clients, \(counts.bytes >> 20) MiB sent, \(counts.replies) replies, \(counts.checks) checks"
  }

  /// Runs the clients until this process has used an amount of processor time, and then closes them.
  mutating func work(until end: Double, _ note: (String) -> Void) throws {
    var next = ContinuousClock.now
    var nextNote = next + .seconds(60)
    while SocketFuzz.processorTime < end {
      for _ in 0..<200 { try act() }
      guard ContinuousClock.now > next else { continue }
      try check()
      next = .now + .seconds(1)
      guard next > nextNote else { continue }
      note(summary)
      nextNote = next + .seconds(60)
    }
    try check()
  }

  /// Performs a random action of a random client.
  private mutating func act() throws {
    let slot = clients[lines.number(below: clients.count)]
    guard slot.client != nil else {
      slot.client = try FuzzedClient(path, appetite: [0, 1, 100, 4096, 65536][lines.number(below: 5)])
      (slot.rest, slot.descriptors) = ([], 0)
      counts.connections += 1
      return
    }
    switch lines.number(below: 40) {
    case 0: slot.client = nil
    case 1: slot.client?.end()
    case 2...20: try send(slot)
    default: try read(slot)
    }
  }

  /// Sends the rest of a line or a new one, sometimes in parts.
  private mutating func send(_ slot: Slot) throws {
    if slot.rest.isEmpty {
      let (bytes, descriptors) = lines.next()
      (slot.rest, slot.descriptors) = (bytes[...], lines.number(below: 10) == 0 ? 9 : descriptors)
    }
    let size = lines.number(below: 3) == 0 ? lines.number(below: slot.rest.count + 1) : slot.rest.count
    let passed = (0..<slot.descriptors).map { _ in
      files[lines.number(below: files.count)].descriptor.number
    }
    if try slot.client?.send(slot.rest.prefix(size), passed) != true { return slot.client = nil }
    counts.bytes += size
    if size > 0 { slot.descriptors = 0 }
    // Bytes that the socket did not accept are lost, as from a careless client.
    slot.rest = slot.rest.dropFirst(size)
  }

  private mutating func read(_ slot: Slot) throws {
    guard let bytes = try slot.client?.read() else { return slot.client = nil }
    counts.replies += bytes.count { $0 == 10 }
  }

  /// Closes all clients, and checks that the VM answers another client.
  private mutating func check() throws {
    for slot in clients { slot.client = nil }
    counts.checks += 1
    let end = ContinuousClock.now + .seconds(20)
    var text: [UInt8] = []
    // Until the VM has closed the last of the other clients, it refuses this one.
    while ContinuousClock.now < end {
      guard let client = try FuzzedClient(path, appetite: 65536) else {
        usleep(1_000)
        continue
      }
      let request = Array("{\"id\":\"check\",\"op\":\"status\"}\n".utf8)
      guard try client.send(request[...], []) else { continue }
      text = []
      while ContinuousClock.now < end, text.last != 10 {
        guard let bytes = try client.read() else { break }
        if bytes.isEmpty { usleep(1_000) }
        text += bytes
      }
      if text.starts(with: "{\"id\":\"check\",\"ok\":1,\"state\":\"running\"".utf8) { return }
    }
    throw Failed("the VM does not answer: '\(String(decoding: text, as: UTF8.self))'")
  }
}
