// SPDX-License-Identifier: Apache-2.0

import Fakes
import GuestMemory
import Linux
import Seams
import Synchronization
import Testing

@testable import VMM

@Suite struct MemoryPreparerTests {
  @Test("guest RAM needs no preparation without DMA and preallocation")
  func nothing() throws {
    let memory = try GuestMemory(size: 4 << 20)
    #expect(MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: false, processors: 8) == nil)
  }

  @Test(
    "the number of threads is at most half of the processors, one per GiB, and eight",
    arguments: [
      (512 << 20, 64, 1), (2 << 30, 64, 2), (64 << 30, 64, 8), (64 << 30, 6, 3), (64 << 30, 2, 1),
      (64 << 30, 1, 1),
    ] as [(UInt64, Int, Int)])
  func threads(_ size: UInt64, _ processors: Int, _ count: Int) throws {
    // Untouched guest RAM uses no host memory.
    let memory = try GuestMemory(size: size)
    let preparer = try #require(
      MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: true, processors: processors))
    #expect(preparer.threadCount == count)
  }

  /// Returns the resident size of guest RAM in bytes: Rss of its mappings (/proc/self/smaps). Other tests
  /// change the size of the whole process concurrently.
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
      // The line of a mapping begins with a lower-case address. A field begins with an upper-case letter.
      if line.first?.isUppercase == false {
        let address = line.split(separator: "-").first.flatMap { UInt64($0, radix: 16) } ?? 0
        isRAM = address >= start && address < start + memory.size
      } else if isRAM, line.hasPrefix("Rss:") {
        kibibytes += line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) } ?? 0
      }
    }
    return kibibytes << 10
  }

  @Test("several threads populate all of guest RAM")
  func populate() throws {
    // Two GiB give two threads.
    let memory = try GuestMemory(size: 2 << 30)
    let preparer = try #require(
      MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: true, processors: 4))
    #expect(preparer.threadCount == 2)
    #expect(try Self.resident(memory) == 0)
    let failures = Failures()
    let ends = Atomic(0)
    let threads = try (0..<2).map { index in
      try Thread(name: "pin\(index)") {
        preparer.work(shouldStop: { false }, pinned: { _, _, _ in }, failed: failures.add) {
          ends.add(1, ordering: .relaxed)
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(failures.all.isEmpty && ends.load(ordering: .relaxed) == 1)
    #expect(try Self.resident(memory) == memory.size)
  }

  @Test("the end of the VM stops the preparation before the next piece")
  func stop() throws {
    let memory = try GuestMemory(size: 1 << 30)
    let preparer = try #require(
      MemoryPreparer<FakeSpace>(memory, dma: nil, isPreallocated: true, processors: 1))
    preparer.work(
      shouldStop: { true }, pinned: { _, _, _ in }, failed: { error in Issue.record("\(error)") },
      finished: {})
    #expect(try Self.resident(memory) == 0)
  }

  private final class Failures: Sendable {
    private let list = Mutex<[MemoryPreparationError]>([])
    var all: [MemoryPreparationError] { list.withLock { $0 } }
    func add(_ failure: MemoryPreparationError) { list.withLock { $0.append(failure) } }
  }
}
