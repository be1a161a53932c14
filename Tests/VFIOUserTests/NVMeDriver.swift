// SPDX-License-Identifier: Apache-2.0

import Linux
import VFIOUser

/// A driver of an NVMe controller for tests. Each queue is used by one thread.
struct NVMeDriver {
  /// A failed command or a controller that does not respond.
  struct Failure: Error, CustomStringConvertible { let description: String }

  private let client: Client
  private var connection: Connection { client.connection }

  /// Resets and enables the controller.
  init(_ client: Client) throws {
    self.client = client
    try client.enable()
    try connection.write(0, offset: 0x14, width: 4, 0)
    let last = UInt64(NVMeQueue.entries - 1)
    try connection.write(0, offset: 0x24, width: 4, last << 16 | last)
    let admin = NVMeQueue(client, 0)
    try connection.write(0, offset: 0x28, width: 8, admin.submission)
    try connection.write(0, offset: 0x30, width: 8, admin.completion)
    // Entries of 2^6 and 2^4 bytes.
    try connection.write(0, offset: 0x14, width: 4, 0x0046_0001)
    guard try connection.read(0, offset: 0x1C, width: 4) == 1 else {
      throw Failure(description: "the controller is not ready")
    }
  }

  /// Creates the admin queue, and then pairs of I/O queues.
  func queues(_ count: Int) throws -> (admin: NVMeQueue, io: [NVMeQueue]) {
    var admin = NVMeQueue(client, 0)
    var io: [NVMeQueue] = []
    for number in 1...count {
      let queue = NVMeQueue(client, number)
      let size = UInt32(NVMeQueue.entries - 1) << 16
      // The completion queue, contiguous and with interrupts by the vector of its number.
      try admin.run(5, prp1: queue.completion, words: [size | UInt32(number), UInt32(number) << 16 | 3])
      try admin.run(1, prp1: queue.submission, words: [size | UInt32(number), UInt32(number) << 16 | 1])
      io.append(queue)
    }
    return (admin, io)
  }
}

/// A submission queue, its completion queue and a data buffer of 64 KiB in the client's memory.
struct NVMeQueue {
  static let entries = 16
  private static let areaSize: UInt64 = 0x20000
  private static let bufferOffset: UInt64 = 0x10000

  private let client: Client
  private let number: Int
  private let base: UInt64
  private var tail = 0
  private var head = 0
  private var phase: UInt16 = 1
  private var identifier: UInt16 = 0

  init(_ client: Client, _ number: Int) {
    (self.client, self.number) = (client, number)
    base = client.memory.range.address + UInt64(number) * Self.areaSize
    client.memory.write(base, [UInt8](repeating: 0, count: Int(Self.areaSize)))
  }

  /// IOVAs.
  var submission: UInt64 { base }
  var completion: UInt64 { base + 0x1000 }
  private var list: UInt64 { base + 0x2000 }
  private var buffer: UInt64 { base + Self.bufferOffset }

  /// Executes a command and waits for its completion.
  ///
  /// - Returns: Double word 0 of the completion.
  @discardableResult
  mutating func run(
    _ opcode: UInt8, namespace: UInt32 = 0, prp1: UInt64 = 0, prp2: UInt64 = 0, words: [UInt32] = []
  ) throws -> UInt32 {
    identifier &+= 1
    var entry = [UInt32](repeating: 0, count: 16)
    entry[0] = UInt32(opcode) | UInt32(identifier) << 16
    entry[1] = namespace
    (entry[6], entry[7]) = (UInt32(truncatingIfNeeded: prp1), UInt32(prp1 >> 32))
    (entry[8], entry[9]) = (UInt32(truncatingIfNeeded: prp2), UInt32(prp2 >> 32))
    for (index, word) in words.enumerated() { entry[10 + index] = word }
    let bytes = entry.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } }
    client.memory.write(submission + 64 * UInt64(tail), bytes)
    tail = (tail + 1) % Self.entries
    try client.connection.write(0, offset: 0x1000 + UInt64(8 * number), width: 4, UInt64(tail))
    return try complete()
  }

  private mutating func complete() throws -> UInt32 {
    let end = Clock.microseconds() + 5_000_000
    let address = completion + 16 * UInt64(head)
    while true {
      guard let bytes = client.memory.read(address, 16) else {
        throw NVMeDriver.Failure(description: "the completion queue is not memory")
      }
      let status = UInt16(bytes[14]) | UInt16(bytes[15]) << 8
      guard status & 1 == phase else {
        if let failure = client.connection.failure { throw failure }
        guard Clock.microseconds() < end else {
          throw NVMeDriver.Failure(description: "queue \(number): no completion")
        }
        continue
      }
      head = (head + 1) % Self.entries
      if head == 0 { phase ^= 1 }
      try client.connection.write(0, offset: 0x1004 + UInt64(8 * number), width: 4, UInt64(head))
      guard UInt16(bytes[12]) | UInt16(bytes[13]) << 8 == identifier, status >> 1 == 0 else {
        throw NVMeDriver.Failure(description: "queue \(number): status \(status >> 1)")
      }
      return bytes[0..<4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
  }

  /// Writes blocks of 512 bytes, up to 64 KiB.
  mutating func write(_ block: UInt64, _ bytes: [UInt8]) throws {
    client.memory.write(buffer, bytes)
    try transfer(1, block, bytes.count)
  }

  /// Reads blocks of 512 bytes, up to 64 KiB.
  mutating func read(_ block: UInt64, _ count: Int) throws -> [UInt8] {
    client.memory.write(buffer, [UInt8](repeating: 0xEE, count: count))
    try transfer(2, block, count)
    return client.memory.read(buffer, count) ?? []
  }

  /// Flushes the namespace.
  mutating func flush() throws { try run(0, namespace: 1) }

  private mutating func transfer(_ opcode: UInt8, _ block: UInt64, _ count: Int) throws {
    let pages = (count + 4095) / 4096
    var second: UInt64 = 0
    if pages == 2 { second = buffer + 4096 }
    if pages > 2 {
      second = list
      let pointers = (1..<pages).flatMap { page in
        (0..<8).map { UInt8(truncatingIfNeeded: (buffer + UInt64(page) * 4096) >> UInt64(8 * $0)) }
      }
      client.memory.write(list, pointers)
    }
    let words = [
      UInt32(truncatingIfNeeded: block), UInt32(block >> 32), UInt32(count / 512 - 1),
    ]
    try run(opcode, namespace: 1, prp1: buffer, prp2: second, words: words)
  }

  /// Runs Identify and returns its 4 KiB.
  mutating func identify(_ structure: UInt32, namespace: UInt32 = 0) throws -> [UInt8] {
    try run(6, namespace: namespace, prp1: buffer, words: [structure])
    return client.memory.read(buffer, 4096) ?? []
  }
}
