// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import Linux
import Testing

@testable import VMM

/// Checks of a host that files describe.
@Suite struct HostResourcesTests {
  private let directory = FileManager.default.temporaryDirectory.appending(
    path: "sluice-test-\(UUID().uuidString)")

  private func write(_ text: String, _ name: String) throws {
    let file = directory.appending(path: name)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data((text + "\n").utf8).write(to: file)
  }

  /// Calls `body` with a host of two nodes. Node 0 has 4 GiB, of which 1 GiB is available. Node 1 has 2 GiB
  /// and 100 huge pages.
  private func withHost(_ body: (HostResources) throws -> Void) throws {
    defer { try? FileManager.default.removeItem(at: directory) }  // a temporary folder
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
    _ memory: UInt64, _ backing: GuestMemory.Backing = .memfd, node: Int? = nil, isPreallocated: Bool = false
  ) -> Configuration {
    var configuration = Configuration(kernel: "kernel")
    configuration.memory = memory
    configuration.backing = backing
    configuration.memoryNode = node
    configuration.isPreallocated = isPreallocated
    return configuration
  }

  @Test("a node has total memory and free or reclaimable memory")
  func node() throws {
    try withHost { host throws in
      let node = try NUMANode(0, sysfs: host.sysfs)
      #expect(node.total == 4 << 30)
      #expect(node.available == 1 << 30)
      #expect(try NUMANode(1, sysfs: host.sysfs).freeHugePages(kibibytes: 2048) == 100)
      #expect(try NUMANode(1, sysfs: host.sysfs).freeHugePages(kibibytes: 1 << 20) == 0)
    }
  }

  /// Returns the problem of a configuration on a host, or nil.
  private static func problem(_ host: HostResources, _ configuration: Configuration) throws -> HostProblem? {
    do throws(RunError) { try host.check(configuration) } catch {
      guard case .host(let problem) = error else { throw error }
      return problem
    }
    return nil
  }

  @Test("a configuration that fits has no problem")
  func fits() throws {
    try withHost { host throws in
      for configuration in [
        Self.configuration(64 << 20), Self.configuration(64 << 20, node: 0, isPreallocated: true),
        Self.configuration(200 << 20, .hugePages(shift: 21), node: 1),
        // The check leaves the size of the pool to the kernel.
        Self.configuration(1 << 50, .hugePages(shift: 21)),
      ] { #expect(try Self.problem(host, configuration) == nil) }
    }
  }

  @Test("an absent node and a node that is too small for the resident pages are reported")
  func nodes() throws {
    try withHost { host throws in
      #expect(
        try Self.problem(host, Self.configuration(64 << 20, node: 2)) == .noNode(2, online: "0-1"))
      #expect(
        try Self.problem(host, Self.configuration(2 << 30, node: 0)) == nil,
        "only touched pages are resident")
      #expect(
        try Self.problem(host, Self.configuration(2 << 30, node: 0, isPreallocated: true))
          == .nodeMemory(0, size: 2 << 30, limit: 1 << 30, .populated))
      #expect(
        try Self.problem(host, Self.configuration(3 << 30, node: 1))
          == .nodeMemory(1, size: 3 << 30, limit: 2 << 30, .touched))
      try FileManager.default.removeItem(at: directory.appending(path: "devices"))
      #expect(try Self.problem(host, Self.configuration(64 << 20, node: 0)) == .noNodes(0))
    }
  }

  @Test("an unreadable file is a kernel error, not an absent file")
  func unreadable() throws {
    try withHost { host throws in
      let file = directory.appending(path: "kernel/mm/transparent_hugepage/enabled")
      try FileManager.default.removeItem(at: file)
      try FileManager.default.createDirectory(at: file, withIntermediateDirectories: true)
      #expect(throws: RunError.kernel(KernelError("read \(file.path)", errno: 21))) {
        try host.check(Self.configuration(64 << 20, .transparentHugePages))
      }
    }
  }

  @Test("huge pages are counted in the node's pool")
  func hugePages() throws {
    try withHost { host throws in
      #expect(
        try Self.problem(host, Self.configuration(202 << 20, .hugePages(shift: 21), node: 1))
          == .nodeHugePages(
            1, count: 101, kibibytes: 2048, free: 100,
            pool: "\(host.sysfs)/devices/system/node/node1/hugepages/hugepages-2048kB"))
    }
  }

  @Test("disabled or unsupported transparent huge pages are a problem")
  func transparent() throws {
    try withHost { host throws in
      let configuration = Self.configuration(64 << 20, .transparentHugePages)
      #expect(
        try Self.problem(host, configuration)
          == .transparentHugePagesOff(path: "\(host.sysfs)/kernel/mm/transparent_hugepage/enabled"))
      try write("always [madvise] never", "kernel/mm/transparent_hugepage/enabled")
      #expect(try Self.problem(host, configuration) == nil)
      try FileManager.default.removeItem(at: directory.appending(path: "kernel"))
      #expect(try Self.problem(host, configuration) == .noTransparentHugePages)
    }
  }

  @Test(
    "a processor that this process may not use is reported with its vCPU", arguments: [8191, 8192, Int.max])
  func processors(_ processor: Int) throws {
    var configuration = Self.configuration(64 << 20)
    configuration.cpuPins = [0: processor]
    #expect(try Self.problem(HostResources(), configuration) == .processor(processor, vcpu: 0))
    configuration.cpuPins = [:]
    #expect(try Self.problem(HostResources(), configuration) == nil)
  }
}
