// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Guests that write what they see, each under Sluice and then under a peer, in the same L1 with the same
/// device, memory and CPUs.
enum ComparisonCases {
  private struct Device {
    let name: String
    let addresses: [String]
    var append = "device=1"
    /// What the Linux guest does with it.
    var steps: [String] = []
  }

  private static let devices = [
    Device(name: "nvme", addresses: [Address.bigDrive], steps: ["nvme-sha256"]),
    Device(name: "e1000e", addresses: [Address.network], steps: ["network"]),
    Device(name: "edu", addresses: [Address.edu, Address.sharedMemory], append: "device=1 peer=2"),
    Device(name: "ivshmem", addresses: [Address.sharedMemory]),
    Device(name: "xhci", addresses: [Address.usb], steps: ["usb-sha256"]),
    Device(name: "ahci", addresses: [Address.disk], steps: ["ahci-sha256"]),
  ]

  /// The probe guest's cases.
  static let probes = devices.map { device in
    Case("compare-\(device.name)", "what the probe guest sees of \(device.name)", limit: 240) { bench in
      try collect(bench) { vmm, bench in
        let guest = SmallGuest("Probe", device.addresses, append: device.append)
        let child = try bench.start(guest.command(bench, as: vmm), as: vmm)
        let status = try child.wait()
        var facts = Facts(probe: child.output)
        // A peer may have died; Sluice may not.
        try bench.require(
          status == 1 || vmm != "sluice", "status \(status); \(child.lastMessage); \(child.lastLine)")
        facts.add("end", status == 1 ? "all facts written" : "status \(status): \(child.lastMessage)")
        return facts
      }
    }
  }

  /// The Linux guest's cases.
  static let linux = devices.map { device in
    Case("compare-linux-\(device.name)", "what Linux says of \(device.name)", limit: 240) { bench in
      try collect(bench) { vmm, bench in
        let guest = LinuxGuest(
          kernel: .newFull, devices: device.addresses, steps: ["facts"] + device.steps + ["facts-after"])
        let child = try bench.start(guest.command(bench), as: vmm)
        let status = try child.wait()
        let lines = GuestLines(child.output)
        try bench.require(
          lines.ended && lines.faults.isEmpty,
          "under \(vmm): status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastLine)")
        return LinuxFacts(lines).facts
      }
    }
  }

  static let all = probes + linux

  /// Runs a guest under both, and leaves `sluice.facts` and `peer.facts`.
  private static func collect(
    _ bench: Bench, _ body: (String, Bench) throws -> Facts
  ) throws -> String {
    // The peer is what `--with` names; Sluice is always the other one.
    let peer = bench.vmm == "sluice" ? "qemu" : bench.vmm
    var counts: [Int] = []
    for (vmm, file) in [("sluice", "sluice"), (peer, "peer")] {
      bench.vmm = vmm
      let facts = try body(vmm, bench)
      try bench.require(facts.keys.count > 20, "under \(vmm) the guest wrote only \(facts.keys.count) facts")
      try Data(facts.text.utf8).write(to: bench.file("\(file).facts"))
      counts.append(facts.keys.count)
    }
    return "\(counts[0]) facts under sluice, \(counts[1]) under \(peer)"
  }
}
