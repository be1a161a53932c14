// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Linux
import Synchronization
import Testing

@testable import VMM

@Suite struct PreparationTests {
  private static let megabytes: UInt64 = 1 << 20

  @Test("where no device does DMA and nothing is to be populated there is nothing to do")
  func nothing() throws {
    let memory = try GuestMemory(size: 4 << 20)
    #expect(Preparation(memory, dma: nil, isPreallocated: false, processors: 8) == nil)
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
    let preparation = try #require(
      Preparation(memory, dma: nil, isPreallocated: true, processors: processors))
    #expect(preparation.threadCount == count)
  }

  /// Bytes of this process that are in memory (/proc/self/statm).
  private static func resident() throws -> UInt64 {
    let fields = try Sysfs.read("/proc/self/statm").split(separator: " ")
    return (UInt64(fields[1]) ?? 0) * 4096
  }

  @Test("several threads populate all of it, each piece once")
  func populate() throws {
    // Two GiB, for two threads.
    let memory = try GuestMemory(size: 2 << 30)
    let preparation = try #require(Preparation(memory, dma: nil, isPreallocated: true, processors: 4))
    #expect(preparation.threadCount == 2)
    let before = try Self.resident()
    let failures = Failures()
    let threads = try (0..<2).map { index in
      try Thread(name: "pin\(index)") {
        if let failure = preparation.work(shouldStop: { false }, pinned: { _, _, _ in }) {
          failures.add(failure)
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(failures.all.isEmpty)
    #expect(try Self.resident() >= before + 2040 * Self.megabytes)
  }

  @Test("a VM that ends stops it before the next piece")
  func stop() throws {
    let memory = try GuestMemory(size: 1 << 30)
    let preparation = try #require(Preparation(memory, dma: nil, isPreallocated: true, processors: 1))
    let before = try Self.resident()
    #expect(preparation.work(shouldStop: { true }, pinned: { _, _, _ in }) == nil)
    #expect(try Self.resident() < before + 64 * Self.megabytes)
  }

  private final class Failures: Sendable {
    private let list = Mutex<[KernelError]>([])
    var all: [KernelError] { list.withLock { $0 } }
    func add(_ failure: KernelError) { list.withLock { $0.append(failure) } }
  }
}
