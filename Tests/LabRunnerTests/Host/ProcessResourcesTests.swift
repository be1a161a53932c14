// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct ProcessResourcesTests {
  private static let links = [
    "anon_inode:[eventfd]", "anon_inode:[eventfd]", "anon_inode:kvm-vm", "socket:[12]", "socket:[13]",
    "pipe:[1]", "/run/lab/trace.jsonl",
  ]
  private static let maps = """
    5f0-5f1 r-xp 00000000 00:1 7    /work/sluice
    7f0-7f1 rw-s 00000000 00:0e 3      anon_inode:kvm-vcpu:0
    7f1-7f2 rw-s 00000000 00:0e 4      anon_inode:[vfio-device]
    7f2-7f3 rw-s 00000000 00:0e 4      anon_inode:[vfio-device]
    7f3-7f4 rw-s 00000000 00:01 5      /memfd:guest-ram (deleted)
    7f4-7f5 rw-p 00000000 00:00 0
    7f5-7f6 rw-p 00000000 00:00 0      [heap]
    """

  @Test("counts descriptors and mappings by kind, without the numbers of sockets and the program's memory")
  func kinds() {
    let resources = ProcessResources(links: Self.links, threads: 5, maps: Self.maps)
    #expect(
      resources.descriptors == ["eventfd": 2, "kvm-vm": 1, "socket": 2, "pipe": 1, "/run/lab/trace.jsonl": 1])
    #expect(
      resources.mappings == ["kvm-vcpu:0": 1, "vfio-device": 2, "/memfd:guest-ram (deleted)": 1])
    #expect(resources.description == "7 descriptors, 5 threads, 4 mappings")
  }

  @Test("names each kind whose number has changed")
  func differences() {
    let before = ProcessResources(links: Self.links, threads: 5, maps: Self.maps)
    let after = ProcessResources(links: Self.links + ["anon_inode:[eventfd]"], threads: 6, maps: "")
    #expect(before.differences(from: before).isEmpty)
    #expect(
      before.differences(from: after) == [
        "descriptors of eventfd: 2, then 3", "threads: 5, then 6",
        "mappings of /memfd:guest-ram (deleted): 1, then 0", "mappings of kvm-vcpu:0: 1, then 0",
        "mappings of vfio-device: 2, then 0",
      ])
  }
}
