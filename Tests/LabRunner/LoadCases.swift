// SPDX-License-Identifier: Apache-2.0

/// A Linux guest resets a device many times while it uses it, and loses nothing.
enum LoadCases {
  static let all: [Case] = [
    Case(
      "nvme-flr-load", "\(GuestLoad.resets) FLRs by the guest under reads and writes that are compared",
      limit: 400
    ) { bench in try drive(bench) },
    Case(
      "e1000e-reset-load", "\(GuestLoad.resets) resets by the guest (PM) during downloads that are compared",
      limit: 400
    ) { bench in try network(bench) },
  ]

  private static func drive(_ bench: Bench) throws -> String {
    let guest = LinuxGuest(devices: [Address.scratchDrive], steps: ["nvme-load"])
    let lines = try guest.run(bench)
    let result = lines.values(of: "nvme-load").first ?? []
    try bench.require(result.count == 4, "the guest says '\(result.joined(separator: " "))'")
    let (resets, reads, writes) = (Int(result[0]) ?? 0, Int(result[1]) ?? 0, Int(result[2]) ?? 0)
    try bench.require(
      result[3] == bench.manifest.sums[Address.scratchDrive],
      "the guest read \(result[3]), the image has \(bench.manifest.sums[Address.scratchDrive] ?? "none")")
    try bench.require(resets == GuestLoad.resets, "\(resets) resets of \(GuestLoad.resets)")
    try bench.require(reads >= 10 && writes >= 10, "only \(reads) reads and \(writes) writes")
    let counted = try countResets(bench, why: "flr")
    return
      "\(resets) resets by the guest, \(counted) in the trace; \(reads) reads of 8 MiB and \(writes) writes "
      + "of 512 KiB, all right"
  }

  private static func network(_ bench: Bench) throws -> String {
    let guest = LinuxGuest(kernel: .newFull, devices: [Address.network], steps: ["network-load"])
    let lines = try guest.run(bench)
    try LinuxCases.checkNetwork(lines, bench)
    let result = (lines.values(of: "network-load").first ?? []).compactMap { Int($0) }
    try bench.require(result.count == 3, "the guest says '\(result)'")
    try bench.require(result[0] == GuestLoad.resets, "\(result[0]) resets of \(GuestLoad.resets)")
    try bench.require(result[1] == result[0], "after \(result[0]) resets \(result[1]) pings were answered")
    try bench.require(result[2] >= 3, "only \(result[2]) downloads")
    let counted = try countResets(bench, why: "power")
    return "\(result[0]) resets by the guest, \(counted) in the trace; as many pings answered; \(result[2]) "
      + "downloads of 4 MiB, all right"
  }

  /// The trace has each reset that the guest asked for, once, and nothing is mapped during any.
  private static func countResets(_ bench: Bench, why: String) throws -> Int {
    guard bench.vmm == "sluice" else { return 0 }
    let trace = try Trace(file: bench.file("trace.jsonl"))
    let count = trace.records.count { $0.event == "reset" && $0.why == why }
    try bench.require(
      count == GuestLoad.resets, "the trace has \(count) resets (\(why)) of \(GuestLoad.resets)")
    let faults = trace.faultsOfLaziness() + trace.faultsOfClosing() + trace.faultsOfResetting()
    try bench.require(faults.isEmpty, faults.prefix(3).joined(separator: "; "))
    return count
  }
}
