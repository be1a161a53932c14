// SPDX-License-Identifier: Apache-2.0

/// Cases in which a Linux guest resets its devices many times while it uses them. No data is lost.
enum LoadCases {
  static let all: [Case] = [
    load("resets-under-load", resets: 20, limit: 150),
    load("resets-under-load-200", resets: 200, limit: 500, isLong: true),
  ]

  private static func load(_ name: String, resets: Int, limit: Int, isLong: Bool = false) -> Case {
    Case(
      name,
      "the guest does \(resets) FLRs of NVMe and \(resets) PM resets of e1000e; its data is intact",
      limit: limit, isLong: isLong
    ) { context in
      let devices = [Address.scratchDrive, Address.network]
      let lines = try LinuxGuest(
        kernel: .newFull, devices: devices, steps: ["load"], append: "lab.resets=\(resets)"
      )
      .run(context)
      let drive = try drive(lines, resets, context)
      let network = try network(lines, resets, context)
      guard context.vmm == "sluice" else { return "\(drive); \(network); under \(context.vmm)" }
      try checkTrace(resets, context)
      return "\(drive); \(network); the trace has the same number of resets"
    }
  }

  private static func drive(_ lines: GuestLines, _ wanted: Int, _ context: CaseContext) throws -> String {
    let result = lines.values(of: "nvme-load").first ?? []
    try context.require(
      result.count == 4, "the guest printed '\(result.joined(separator: " "))' for nvme-load")
    let (resets, reads, writes) = (Int(result[0]) ?? 0, Int(result[1]) ?? 0, Int(result[2]) ?? 0)
    let expected = context.manifest.sums[Address.scratchDrive] ?? "none"
    try context.require(result[3] == expected, "the guest read \(result[3]), the image has \(expected)")
    try context.require(resets == wanted, "the guest did \(resets) of \(wanted) FLRs")
    // A guest does about 18 reads and 100 writes during 200 resets. Resets therefore interrupt most of them.
    try context.require(
      reads >= wanted / 20 && writes >= wanted / 10, "only \(reads) reads and \(writes) writes")
    return "NVMe: \(resets) FLRs, \(reads) correct reads of 8 MiB and \(writes) correct writes of 512 KiB"
  }

  private static func network(_ lines: GuestLines, _ wanted: Int, _ context: CaseContext) throws -> String {
    try LinuxCases.checkNetwork(lines, context)
    let result = (lines.values(of: "network-load").first ?? []).compactMap { Int($0) }
    try context.require(result.count == 4, "the guest printed '\(result)' for network-load")
    try context.require(result[0] == wanted, "the guest did \(result[0]) of \(wanted) PM resets")
    try context.require(result[2] == result[1], "\(result[2]) pings were answered in \(result[1]) rounds")
    try context.require(result[3] >= result[1], "only \(result[3]) downloads in \(result[1]) rounds")
    return
      "e1000e: \(result[0]) PM resets, \(result[2]) of \(result[1]) pings answered, "
      + "\(result[3]) correct downloads of 4 MiB"
  }

  /// Checks that the trace has each requested reset once, and that no window is mapped during a reset.
  private static func checkTrace(_ wanted: Int, _ context: CaseContext) throws {
    let trace = try Trace(file: context.file("trace.jsonl"))
    for (device, why) in [(Address.scratchDrive, "flr"), (Address.network, "power")] {
      let count = trace.records.count { $0.event == "reset" && $0.device == device && $0.why == why }
      try context.require(
        count == wanted, "the trace has \(count) of \(wanted) resets (\(why))")
    }
    let faults = trace.violationsOfLaziness() + trace.violationsOfClosing() + trace.faultsOfResetting()
    try context.require(faults.isEmpty, faults.prefix(3).joined(separator: "; "))
  }
}
