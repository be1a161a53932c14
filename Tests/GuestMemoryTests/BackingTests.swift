// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Testing

@testable import GuestMemory

/// The mappings and errors that the kernel gives for each backing.
@Suite struct BackingTests {
  private static let size: UInt64 = 16 << 20

  // A file that cannot be read means that the kernel does not have the feature.
  private static let hasNodes = (try? Sysfs.read("/sys/devices/system/node/node0/meminfo")) != nil
  private static let hasTransparentHugePages =
    (try? Sysfs.read("/sys/kernel/mm/transparent_hugepage/enabled")) != nil

  private static func smaps(_ memory: GuestMemory) throws -> Smaps {
    try Smaps(at: memory.regions[0].hostAddress)
  }

  @Test(
    "fresh RAM uses no memory of the host",
    arguments: [.memfd, .transparentHugePages, .transparentHugePagesIfAvailable] as [GuestMemory.Backing])
  func fresh(_ backing: GuestMemory.Backing) throws {
    let memory = try GuestMemory(size: Self.size, backing: backing)
    #expect(try Self.smaps(memory).bytes("Rss") == 0)
    #expect(memory.pageSize == 4096)
  }

  @Test(
    "populated pages are resident, and the other pages are not",
    arguments: [.memfd, .transparentHugePages, .transparentHugePagesIfAvailable] as [GuestMemory.Backing])
  func populate(_ backing: GuestMemory.Backing) throws {
    let memory = try GuestMemory(size: Self.size, backing: backing)
    let pieces = memory.pieces(of: 4 << 20)
    #expect(pieces.count == 4)
    try memory.store(0x1234 as UInt16, at: GuestAddress(4 << 20))
    try memory.populate(pieces[1])
    #expect(try Self.smaps(memory).bytes("Rss") == 4 << 20)
    #expect(try memory.load(UInt16.self, at: GuestAddress(4 << 20)) == 0x1234, "contents do not change")
    for piece in pieces { try memory.populate(piece) }
    #expect(try Self.smaps(memory).bytes("Rss") == Self.size)
    try memory.discard()
    #expect(try Self.smaps(memory).bytes("Rss") == 0, "discarded pages are not resident")
  }

  @Test("another process can map the file of shared memory, and cannot change its size")
  func file() throws {
    let memory = try GuestMemory(size: Self.size, keepsFile: true)
    let file = try #require(memory.file)
    #expect(ftruncate(file.number, 4096) < 0 && ftruncate(file.number, off_t(Self.size) * 2) < 0)
    try memory.store(0x1234 as UInt16, at: GuestAddress(0x5000))
    #expect(try readBytes(file.number, 2, at: 0x5000) == [0x34, 0x12])
    #expect(memory.hostAddresses.lowerBound == memory.regions[0].hostAddress)
    #expect(UInt64(memory.hostAddresses.count) == Self.size)
    #expect(try GuestMemory(size: Self.size).file == nil)
    #expect(try GuestMemory(size: Self.size, backing: .transparentHugePages, keepsFile: true).file == nil)
  }

  @Test("pieces cover both regions, and no piece crosses the hole")
  func pieces() throws {
    let memory = try GuestMemory(size: 3 << 30 | 300 << 20)
    let pieces = memory.pieces(of: 1 << 30)
    #expect(pieces.map(\.base.rawValue) == [0, 1 << 30, 2 << 30, 4 << 30])
    #expect(pieces.map(\.size) == [1 << 30, 1 << 30, 1 << 30, 300 << 20])
    #expect(pieces.map { $0.hostAddress - memory.regions[0].hostAddress } == [0, 1 << 30, 2 << 30, 3 << 30])
  }

  @Test(
    "only transparent huge pages get MADV_HUGEPAGE",
    .enabled(if: hasTransparentHugePages, "this kernel has no transparent huge pages"))
  func advice() throws {
    let ordinary = try GuestMemory(size: Self.size)
    #expect(try !Self.smaps(ordinary).flags.contains("hg"))
    let memory = try GuestMemory(size: Self.size, backing: .transparentHugePages)
    #expect(try Self.smaps(memory).flags.contains("hg"))
    try memory.populate(memory.regions[0])
    // A host with fragmented memory may have no huge page left. It then uses small pages, without an error.
    #expect(try Self.smaps(memory).bytes("Rss") == Self.size)
  }

  @Test(
    "RAM of node 0 has the policy of node 0, and its populated pages are on node 0",
    .enabled(if: hasNodes, "this kernel has no NUMA nodes"))
  func node() throws {
    let memory = try GuestMemory(size: Self.size, node: 0)
    try memory.populate(memory.regions[0])
    let line = try Self.line(ofMapping: memory.regions[0].hostAddress)
    #expect(line.contains(" bind:0 "), "\(line)")
    #expect(line.contains(" N0=\(Self.size / 4096)"), "\(line)")
  }

  /// Returns the line of a mapping in /proc/self/numa_maps.
  private static func line(ofMapping address: UInt64) throws -> String {
    let file = try OwnedDescriptor(opening: "/proc/self/numa_maps", .read)
    var text = ""
    while case let bytes = try file.read(upTo: 1 << 16), !bytes.isEmpty {
      text += String(decoding: bytes, as: UTF8.self)
    }
    return text.split(separator: "\n").first { $0.hasPrefix(String(address, radix: 16) + " ") }.map(
      String.init) ?? ""
  }

  @Test(
    "a node that does not exist is an error with its number and the kernel's reason",
    arguments: [1023, 1024, Int.max])
  func noNode(_ node: Int) {
    let error = #expect(throws: GuestMemory.AllocationError.self) {
      _ = try GuestMemory(size: Self.size, node: node)
    }
    let cause = KernelError("mbind \(Self.size) bytes to NUMA node \(node)", errno: KernelError.invalid)
    #expect(error == .node(node, cause))
    #expect(
      error?.description
        == "guest RAM of NUMA node \(node): \(cause): this process may not use that node")
  }

  @Test("too few huge pages in the pool are an error with their number and size")
  func noPool() throws {
    // More than any host has: 1 PiB.
    let error = #expect(throws: GuestMemory.AllocationError.self) {
      _ = try GuestMemory(size: 1 << 50, backing: .hugePages(shift: 21))
    }
    guard case .hugePages(1 << 29, 2048, let cause) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(cause.errno == KernelError.noMemory)
    #expect(error?.description == "guest RAM of 536870912 huge pages of 2048K: \(cause)")
  }

  @Test("a huge page size that no processor has is an error with the size")
  func noSize() {
    let error = #expect(throws: GuestMemory.AllocationError.self) {
      _ = try GuestMemory(size: 1 << 34, backing: .hugePages(shift: 34))
    }
    guard case .noHugePageSize(16_777_216, let cause) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(cause.errno == KernelError.noDevice)
    #expect(error?.description.hasSuffix(": the host has no huge pages of that size") == true)
  }

  @Test("a size of 2^63 bytes is refused by the kernel")
  func negative() {
    let size: UInt64 = 1 << 63
    let error = #expect(throws: GuestMemory.AllocationError.self) { _ = try GuestMemory(size: size) }
    #expect(
      error == .kernel(KernelError("ftruncate \(size) bytes of guest RAM", errno: KernelError.invalid)))
    #expect(error?.description.hasPrefix("guest RAM: ftruncate ") == true)
  }
}
