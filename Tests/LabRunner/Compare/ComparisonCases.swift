// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Guests that write the facts that they observe.
///
/// Each guest runs under Sluice and then under a peer, in the same L1 with the same device, memory and CPUs.
enum ComparisonCases {
  private struct Device {
    let name: String
    let addresses: [String]
    var append = "device=1"
    /// The steps of the Linux guest.
    var steps: [String] = []
  }

  private static let devices = [
    Device(name: "nvme", addresses: [Address.bigDrive], steps: ["nvme-sha256"]),
    Device(name: "e1000e", addresses: [Address.network], steps: ["network"]),
    Device(name: "edu", addresses: [Address.edu, Address.sharedMemory], append: "device=1 peer=2"),
    Device(name: "ivshmem", addresses: [Address.sharedMemory]),
    Device(name: "xhci", addresses: [Address.usb], steps: ["usb-sha256"]),
    Device(name: "ahci", addresses: [Address.disk], steps: ["disks-1"]),
  ]

  /// The cases of the probe guest. Each part is a separate guest, because a later part may end a peer.
  static let probes = devices.map { device in
    Case(
      "compare-\(device.name)", "the facts of the probe guest about \(device.name)", limit: 3 * timeout + 180
    ) { context in
      try probe(device, parts: 0..<3, context)
    }
  }

  /// The case of the probe guest under Sluice with a planted bug.
  ///
  /// Its device is a card with several BARs, MSI-X and a ROM.
  static func planted(_ bug: String) -> Case {
    Case("planted-\(bug)", "the facts of the probe guest with a planted bug", limit: 240) { context in
      context.manifest.sluice = "\(context.manifest.planted)/\(bug)"
      return try probe(devices[1], parts: 0..<1, context)
    }
  }

  private static func probe(_ device: Device, parts: Range<Int>, _ context: CaseContext) throws -> String {
    try collect(context) { vmm, context in
      var facts = Observations()
      for part in parts {
        let guest = BareMetalGuest("Probe", device.addresses, append: "\(device.append) part=\(part)")
        let label = "\(vmm)-\(part)"
        let child = try context.start(guest.command(context, as: label), as: label)
        let end = try end(of: child)
        // A peer may die. Sluice must not.
        try context.require(end == nil || vmm != "sluice", "\(end ?? ""); \(child.lastLine)")
        facts.add(probe: child.output)
        facts.add("end.\(part)", end ?? "all facts written")
      }
      return facts
    }
  }

  /// The time limit of a guest in seconds. With ivshmem, QEMU took more than 60 s on a busy machine.
  private static let timeout = 100

  /// Waits for the end of a guest. Returns the cause of a bad end, or nil after a good end.
  ///
  /// After an error of KVM_RUN, QEMU stops the guest and does not exit.
  private static func end(of child: Child, timeout: Int = timeout) throws -> String? {
    let limit = ContinuousClock.now + .seconds(timeout)
    func stop() -> String? {
      child.errors.split(separator: "\n")
        .first { $0.contains("kvm run failed") || $0.contains("KVM internal error") }.map(String.init)
    }
    while child.isRunning, stop() == nil, ContinuousClock.now < limit { usleep(100_000) }
    guard !child.isRunning else {
      child.kill()
      return stop() ?? "no end after \(timeout) s"
    }
    let status = try child.wait()
    return status == 1 ? nil : "status \(status): \(child.lastMessage)"
  }

  /// The cases of the Linux guest.
  static let linux = devices.filter { !$0.steps.isEmpty }.map { device in
    Case("compare-linux-\(device.name)", "the facts of a Linux guest about \(device.name)", limit: 240) {
      context in
      try collect(context) { vmm, context in
        let guest = LinuxGuest(
          kernel: .newFull, devices: device.addresses, steps: ["facts"] + device.steps + ["facts-after"])
        let child = try context.start(guest.command(context), as: vmm)
        let status = try child.wait()
        let lines = GuestLines(child.output)
        try context.require(
          lines.ended && lines.faults.isEmpty,
          "under \(vmm): status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastLine)")
        // kvmtool's bus has no host bridge. The device is in slot 0.
        return LinuxObservations(lines, slot: vmm == "kvmtool" ? 0 : 1).facts
      }
    }
  }

  /// The case that compares the results of the guest `instructions`.
  ///
  /// On closed windows, instructions that KVM cannot emulate are left out. They would end QEMU's VM.
  static let instructions = Case(
    "compare-instructions", "the results of instructions on a device's memory", limit: 600
  ) { context in
    try collect(context) { vmm, context in
      let child = try context.start(InstructionCases.guest(under: vmm).command(context, as: vmm), as: vmm)
      let end = try end(of: child, timeout: 250)
      let report = BareMetalReport(child.output)
      try context.require(
        end == nil && (vmm != "sluice" || report.fault == nil),
        "under \(vmm): \(end ?? report.fault ?? ""); \(child.lastLine)")
      var facts = Observations()
      facts.add(probe: child.output)
      return facts
    }
  }

  /// The case that compares a root port in the words of lspci: Sluice's and QEMU's pcie-root-port, each above the same
  /// device.
  static let port = Case("compare-port", "the registers of a root port with a drive", limit: 240) { context in
    try collect(context) { vmm, context in
      let guest = LinuxGuest(devices: [Address.bigDrive + ",port"], steps: ["nvme-sha256", "port-lspci"])
      let child = try context.start(guest.command(context), as: vmm)
      let status = try child.wait()
      let lines = GuestLines(child.output)
      try context.require(
        lines.ended && lines.faults.isEmpty,
        "under \(vmm): status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastLine)")
      return LinuxObservations(lines).facts
    }
  }

  /// The case that compares the effects of an error that the host's kernel reports.
  static let error = Case(
    ErrorComparison.name, "an error of a network card behind a root port, which the host reports (AER)",
    limit: 360
  ) { context in try collect(context, atLeast: 4, ErrorComparison.observe) }

  static let all = probes + linux + [instructions, port, error]

  /// Returns the cases that a peer can run.
  ///
  /// kvmtool does not boot a PVH kernel. It also replaces the whole BAR that holds an MSI-X table. A drive
  /// or a USB controller has its registers in the same BAR, and does not work.
  static func all(with peer: String) -> [Case] {
    let names = ["compare-linux-e1000e", "compare-linux-ahci"]
    return peer == "kvmtool" ? linux.filter { names.contains($0.name) } : all
  }

  /// Runs a guest under Sluice and under the peer, and writes `sluice.facts` and `peer.facts`.
  private static func collect(
    _ context: CaseContext, atLeast count: Int = 21, _ body: (String, CaseContext) throws -> Observations
  ) throws -> String {
    // `--with` names the peer. The other VMM is always Sluice.
    let peer = context.vmm == "sluice" ? "qemu" : context.vmm
    var counts: [Int] = []
    for (vmm, file) in [("sluice", "sluice"), (peer, "peer")] {
      context.vmm = vmm
      let facts = try body(vmm, context)
      try context.require(
        facts.keys.count >= count, "under \(vmm) the guest wrote only \(facts.keys.count) facts")
      try Data(facts.text.utf8).write(to: context.file("\(file).facts"))
      counts.append(facts.keys.count)
    }
    return "\(counts[0]) facts under sluice, \(counts[1]) under \(peer)"
  }
}
