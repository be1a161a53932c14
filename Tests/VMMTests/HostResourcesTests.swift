// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import PCI
import Testing

@testable import VMM

/// A host that is described by files.
@Suite struct HostResourcesTests {
  private let directory = FileManager.default.temporaryDirectory.appending(
    path: "sluice-test-\(UUID().uuidString)")

  private func write(_ text: String, _ name: String) throws {
    let file = directory.appending(path: name)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data((text + "\n").utf8).write(to: file)
  }

  /// Two nodes: 0 with 4 GiB of which 1 GiB is to be had, and 1 with 2 GiB and 100 huge pages.
  private func withHost(_ body: (HostResources) throws -> Void) throws {
    defer { try? FileManager.default.removeItem(at: directory) }  // of no more use
    try write("0-1", "devices/system/node/online")
    try write(
      """
      Node 0 MemTotal:        4194304 kB
      Node 0 MemFree:          524288 kB
      Node 0 Active(file):     262144 kB
      Node 0 Inactive(file):   131072 kB
      Node 0 SReclaimable:     131072 kB
      Node 0 Shmem:            999999 kB
      """, "devices/system/node/node0/meminfo")
    try write("Node 1 MemTotal: 2097152 kB\nNode 1 MemFree: 2097152 kB", "devices/system/node/node1/meminfo")
    try write("100", "devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages")
    try write("always madvise [never]", "kernel/mm/transparent_hugepage/enabled")
    try body(HostResources(sysfs: directory.path))
  }

  private static func configuration(
    _ memory: UInt64, _ backing: GuestMemory.Backing = .memory, node: Int? = nil, isPreallocated: Bool = false
  ) -> Configuration {
    var configuration = Configuration(kernel: "kernel")
    configuration.memory = memory
    configuration.backing = backing
    configuration.memoryNode = node
    configuration.isPreallocated = isPreallocated
    return configuration
  }

  @Test("a node has a total, and what is free or can be made free")
  func node() throws {
    try withHost { host throws in
      let node = try HostNode(0, sysfs: host.sysfs)
      #expect(node.total == 4 << 30)
      #expect(node.available == 1 << 30)
      #expect(try HostNode(1, sysfs: host.sysfs).freeHugePages(kibibytes: 2048) == 100)
      #expect(try HostNode(1, sysfs: host.sysfs).freeHugePages(kibibytes: 1 << 20) == 0)
    }
  }

  @Test("what fits has no problem")
  func fits() throws {
    try withHost { host throws in
      #expect(try host.problem(Self.configuration(64 << 20)) == nil)
      #expect(try host.problem(Self.configuration(64 << 20, node: 0, isPreallocated: true)) == nil)
      #expect(try host.problem(Self.configuration(200 << 20, .hugePages(shift: 21), node: 1)) == nil)
      #expect(
        try host.problem(Self.configuration(1 << 50, .hugePages(shift: 21))) == nil, "the pool itself says")
    }
  }

  @Test("a node that is not there, or too small for what will be there, is named with what to do")
  func nodes() throws {
    try withHost { host throws in
      #expect(
        try host.problem(Self.configuration(64 << 20, node: 2))
          == "--memory: this machine has no NUMA node 2; give node= one of 0-1, or leave it out")
      #expect(
        try host.problem(Self.configuration(2 << 30, node: 0)) == nil, "as long as the guest does not use it")
      #expect(
        try host.problem(Self.configuration(2 << 30, node: 0, isPreallocated: true))
          == "guest memory of 2048 MiB: NUMA node 0 has 1024 MiB available; give a smaller --memory, or leave "
          + "node=0 out")
      #expect(
        try host.problem(Self.configuration(3 << 30, node: 1))
          == "guest memory of 3072 MiB: NUMA node 1 has 2048 MiB; give a smaller --memory, or leave node=1 out"
      )
      try FileManager.default.removeItem(at: directory.appending(path: "devices"))
      #expect(
        try host.problem(Self.configuration(64 << 20, node: 0))?.contains("knows no NUMA nodes") == true)
    }
  }

  @Test("huge pages are counted in the node's own pool")
  func hugePages() throws {
    try withHost { host throws in
      let problem = try #require(
        try host.problem(Self.configuration(202 << 20, .hugePages(shift: 21), node: 1)))
      #expect(
        problem
          == "guest memory of 101 huge pages of 2048K: NUMA node 1 has 100 free; type 'echo 101 | sudo tee "
          + "\(host.sysfs)/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages', or leave node=1 out"
      )
    }
  }

  @Test("transparent huge pages that are off, or that the kernel has not, are told")
  func transparent() throws {
    try withHost { host throws in
      let off = try #require(try host.problem(Self.configuration(64 << 20, .transparentHugePages)))
      #expect(off.contains("are off on this machine; type 'echo madvise | sudo tee \(host.sysfs)/kernel/mm/"))
      try write("always [madvise] never", "kernel/mm/transparent_hugepage/enabled")
      #expect(try host.problem(Self.configuration(64 << 20, .transparentHugePages)) == nil)
      try FileManager.default.removeItem(at: directory.appending(path: "kernel"))
      #expect(
        try host.problem(Self.configuration(64 << 20, .transparentHugePages))?.contains("has no transparent")
          == true)
    }
  }

  @Test(
    "a processor that this process may not run on is named with its vCPU", arguments: [8191, 8192, Int.max])
  func processors(_ processor: Int) throws {
    var configuration = Self.configuration(64 << 20)
    configuration.cpuPins = [0: processor]
    #expect(
      try HostResources().problem(configuration)?.hasPrefix(
        "--cpu-pin 0:\(processor): this process may not run") == true)
    configuration.cpuPins = [:]
    #expect(try HostResources().problem(configuration) == nil)
  }
}
