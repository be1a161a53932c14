// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for DMA from edu to ivshmem's BAR under each policy, and for the policies bar-map= and memory-bit=.
enum PeerCases {
  static let all: [Case] = [
    Case(
      "peer-dma", "edu's DMA reaches ivshmem after its first access, and faults while its memory is off",
      limit: 90
    ) {
      context in
      try forSluice(context)
      let guest = peers([Address.edu, Address.sharedMemory], append: "cycles=1")
      let before = try faults()
      let remark = try guest.check(context)
      try requireNeighbours(context)
      return "\(remark); \(try requireFaults(of: context.file("guest.log"), besides: before)) IOMMU faults"
    },
    Case(
      "peer-policies", "peer DMA under peer-dma=on-enable, eager and off, and for one pair of three",
      limit: 150
    ) {
      context in
      try forSluice(context)
      return try policies.map { try $0.check(context) }.joined(separator: "; ")
    },
    Case(
      "ram-wins", "BARs over unpinned RAM with peer-dma=eager: RAM stays, each device warns at most once",
      limit: 120
    ) { context in
      try forSluice(context)
      let devices = [Address.edu, Address.sharedMemory, Address.network, Address.bigDrive]
      var guest = BareMetalGuest("bars", devices.map { "\($0),peer-dma=eager" }, append: "moves=4")
      guest.memory = "2G"
      guest.options = chooses
      let remark = try guest.check(context)
      let said = try String(contentsOf: context.file("guest.err"), encoding: .utf8).split(separator: "\n")
      let warnings = said.filter { $0.contains("guest RAM is at") }
      try context.require(
        (1...devices.count).contains(warnings.count), "\(warnings.count) warnings: \(warnings.prefix(3))")
      return "\(remark); \(warnings[0])"
    },
    Case("bar-map", "bar-map= selects if windows open at access, at COMMAND or at a move", limit: 90) {
      context in
      try forSluice(context)
      return try ["on-fault", "on-enable", "eager"].map { try openings(context, $0) }.joined(separator: "; ")
    },
    Case("memory-bit", "memory-bit=shadow leaves the device's memory bit set; forward clears it", limit: 90) {
      context in
      try forSluice(context)
      return try ["forward", "shadow"].map { try bit(context, $0) }.joined(separator: "; ")
    },
  ]

  private static func forSluice(_ context: CaseContext) throws {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
  }

  /// Returns the lines of L1's kernel log about DMA writes that the IOMMU blocked.
  static func faults() throws -> [String] {
    try Command.output(["dmesg"]).split(separator: "\n").map(String.init).filter {
      $0.contains("DMAR: [DMA Write")
    }
  }

  /// Requires an IOMMU fault in L1's log for each address at which the guest expects one. Returns the number
  /// of addresses.
  static func requireFaults(of log: URL, besides before: [String]) throws -> Int {
    let expected = try String(contentsOf: log, encoding: .utf8).split(whereSeparator: \.isNewline)
      .filter { $0.hasPrefix("# fault ") }.map { String($0.dropFirst(8)) }
    guard !expected.isEmpty else { throw Failed("the guest's log has \(expected.count) lines '# fault'") }
    let seen = try faults().dropFirst(before.count)
    let missing = expected.filter { address in !seen.contains { $0.contains("fault addr 0x\(address)") } }
    guard missing.isEmpty else {
      throw Failed("no IOMMU fault at \(missing); the last faults are \(seen.suffix(4))")
    }
    return expected.count
  }

  /// Checks that the span of windows that the guest accessed reopens with one memory slot and one IOMMU
  /// mapping, and that one call unmaps the span.
  private static func requireNeighbours(_ context: CaseContext) throws {
    let trace = try Trace(file: context.file("guest.jsonl"))
    let maps = trace.records.filter { $0.mappedWindows.first?.device == Address.sharedMemory }
    let joined = maps.filter { $0.mappedWindows.count > 1 }
    try context.require(
      joined.count == 1 && joined[0].windows == 4 && joined[0].size == 8 << 20,
      "joint mappings: \(joined.map { "\($0.mappedWindows.count) windows, \($0.size ?? 0) bytes" })")
    let unmaps = trace.records.filter { $0.unmappedWindows.count == 4 }
    try context.require(unmaps.count == 2, "\(unmaps.count) calls unmap four windows, expected 2")
    // Each memory slot of ivshmem's windows has one mapping, which is for edu.
    let summary = try String(contentsOf: context.file("guest.err"), encoding: .utf8)
    let line = summary.split(separator: "\n").first { $0.hasPrefix("  \(Address.sharedMemory): ") } ?? ""
    try context.require(
      line.contains("slots added \(maps.count),"),
      "the summary has '\(line)', expected \(maps.count) slots added")
  }

  private struct Policy {
    let name: String
    let options: String
    let append: String
    var others: [String] = []
    /// The expected number of containers that map ivshmem's BAR.
    let containers: Int

    func check(_ context: CaseContext) throws -> String {
      let devices = [Address.edu, Address.sharedMemory + options] + others
      _ = try peers(devices, append: append).check(context, as: name)
      let trace = try Trace(file: context.file("\(name).jsonl"))
      let faults = trace.violationsOfClosing()
      try context.require(faults.isEmpty, "\(name): \(faults.prefix(3).joined(separator: "; "))")
      let mapped = trace.records.filter { $0.mappedWindows.first?.device == Address.sharedMemory }
      let used = Set(mapped.map(\.container)).count
      try context.require(
        used == containers, "\(name): \(used) containers map ivshmem, expected \(containers)")
      return "\(name): \(mapped.count) mappings"
    }
  }

  /// Peer DMA needs type1. Sluice finds that by itself, also in an L1 with iommufd.
  private static let chooses = ["--iommu", "auto"]

  private static func peers(_ devices: [String], append: String) -> BareMetalGuest {
    var guest = BareMetalGuest("peer-dma", devices, append: append)
    guest.options = chooses
    return guest
  }

  private static let policies = [
    Policy(name: "on-enable", options: ",peer-dma=on-enable", append: "untouched=1", containers: 1),
    Policy(name: "eager", options: ",peer-dma=eager", append: "untouched=1", containers: 1),
    Policy(name: "off", options: ",peer-dma=off", append: "touched=0", containers: 0),
    Policy(
      name: "one-pair", options: ",peer-dma=off,peer-dma=on-fault@\(Address.edu)", append: "",
      others: [Address.bigDrive], containers: 1),
    Policy(
      name: "other-pair", options: ",peer-dma=off@\(Address.edu),peer-dma=on-fault@\(Address.bigDrive)",
      append: "touched=0", others: [Address.bigDrive], containers: 1),
  ]

  /// Checks the reasons for which windows open when the guest enables, accesses and moves a BAR.
  private static func openings(_ context: CaseContext, _ policy: String) throws -> String {
    let device = "\(Address.edu),bar-map=\(policy)"
    _ = try BareMetalGuest("bars", [device], append: "moves=4").check(context, as: policy)
    let trace = try Trace(file: context.file("\(policy).jsonl"))
    let faults = trace.violationsOfClosing()
    try context.require(faults.isEmpty, "\(policy): \(faults.prefix(3).joined(separator: "; "))")
    let reasons = Set(trace.records.filter { $0.openedWindow != nil }.compactMap(\.why)).sorted()
    let expected = [
      "on-fault": ["access"], "on-enable": ["access", "command"], "eager": ["command", "move"],
    ]
    try context.require(reasons == expected[policy], "\(policy): windows opened because of \(reasons)")
    return "\(policy): \(reasons.joined(separator: ", "))"
  }

  /// Checks the device's memory bit while the guest's memory bit is clear.
  private static func bit(_ context: CaseContext, _ policy: String) throws -> String {
    let devices = [Address.edu, "\(Address.sharedMemory),memory-bit=\(policy)"]
    let guest = peers(devices, append: "pause=2000")
    let child = try context.start(guest.command(context, as: policy), as: policy)
    try child.expect("# memory is off")
    let isSet = try HostDevice(Address.sharedMemory).command & 2 != 0
    let status = try child.wait()
    let report = BareMetalReport(child.output)
    if let fault = report.fault { throw Failed("\(policy): \(fault)") }
    try context.require(status == 1, "\(policy): exit status \(status); \(child.lastMessage)")
    try context.require(
      isSet == (policy == "shadow"), "\(policy): the device's memory bit is \(isSet ? "set" : "clear")")
    return "\(policy): \(isSet ? "set" : "clear")"
  }
}
