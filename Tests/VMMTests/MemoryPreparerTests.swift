// SPDX-License-Identifier: Apache-2.0

import Fakes
import GuestMemory
import Linux
import Seams
import Synchronization
import Testing

@testable import VMM

@Suite struct MemoryPreparerTests {
  @Test("where no device does DMA and nothing is to be populated there is nothing to do")
  func nothing() throws {
    let memory = try GuestMemory(size: 4 << 20)
    #expect(MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: false, processors: 8) == nil)
  }

  @Test(
    "as many threads as are of use: half of the processors, one for each GiB, no more than eight",
    arguments: [
      (512 << 20, 64, 1), (2 << 30, 64, 2), (64 << 30, 64, 8), (64 << 30, 6, 3), (64 << 30, 2, 1),
      (64 << 30, 1, 1),
    ] as [(UInt64, Int, Int)])
  func threads(_ size: UInt64, _ processors: Int, _ count: Int) throws {
    // RAM that nobody touches takes none of the host's.
    let memory = try GuestMemory(size: size)
    let preparer = try #require(
      MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: true, processors: processors))
    #expect(preparer.threadCount == count)
  }

  /// Bytes of guest RAM that are in memory: Rss of its mappings (/proc/self/smaps). Other tests of this process
  /// change the size of the whole process meanwhile.
  private static func resident(_ memory: GuestMemory) throws -> UInt64 {
    let file = try OwnedDescriptor(opening: "/proc/self/smaps", .read)
    var text = ""
    while case let bytes = try file.read(upTo: 1 << 16), !bytes.isEmpty {
      text += String(decoding: bytes, as: UTF8.self)
    }
    let start = memory.regions[0].hostAddress
    var isRAM = false
    var kibibytes: UInt64 = 0
    for line in text.split(separator: "\n") {
      // A mapping's line begins with an address in small letters, a field with a capital one.
      if line.first?.isUppercase == false {
        let address = line.split(separator: "-").first.flatMap { UInt64($0, radix: 16) } ?? 0
        isRAM = address >= start && address < start + memory.size
      } else if isRAM, line.hasPrefix("Rss:") {
        kibibytes += line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) } ?? 0
      }
    }
    return kibibytes << 10
  }

  @Test("several threads populate all of it, each piece once")
  func populate() throws {
    // Two GiB, for two threads.
    let memory = try GuestMemory(size: 2 << 30)
    let preparer = try #require(
      MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: true, processors: 4))
    #expect(preparer.threadCount == 2)
    #expect(try Self.resident(memory) == 0)
    let failures = Failures()
    let threads = try (0..<2).map { index in
      try Thread(name: "pin\(index)") {
        preparer.work(shouldStop: { false }, pinned: { _, _, _ in }, failed: failures.add)
      }
    }
    for thread in threads { thread.join() }
    #expect(failures.all.isEmpty)
    #expect(try Self.resident(memory) == memory.size)
  }

  @Test("a VM that ends stops it before the next piece")
  func stop() throws {
    let memory = try GuestMemory(size: 1 << 30)
    let preparer = try #require(
      MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: true, processors: 1))
    preparer.work(
      shouldStop: { true }, pinned: { _, _, _ in }, failed: { error in Issue.record("\(error)") })
    #expect(try Self.resident(memory) == 0)
  }

  private final class Failures: Sendable {
    private let list = Mutex<[MemoryPreparationError]>([])
    var all: [MemoryPreparationError] { list.withLock { $0 } }
    func add(_ failure: MemoryPreparationError) { list.withLock { $0.append(failure) } }
  }
}
