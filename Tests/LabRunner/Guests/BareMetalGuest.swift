// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One run of a guest of `Guests/`.
struct BareMetalGuest {
  let name: String
  let devices: [String]
  let append: String
  let cpus: Int
  /// The value of `--memory`.
  var memory = "128M"
  /// Further options for Sluice.
  var options: [String] = []
  /// The user of `sluice open`, or nil if `sluice run` opens the devices itself.
  var user: String?

  init(_ name: String, _ devices: [String] = [], append: String = "", cpus: Int = 1) {
    (self.name, self.devices, self.append, self.cpus) = (name, devices, append, cpus)
  }

  /// Returns the command that runs the guest under the case's VMM. Sluice's trace goes to `LABEL.jsonl`.
  func command(_ context: CaseContext, as label: String) throws -> [String] {
    context.vmm == "qemu" ? try qemu(context) : try sluice(context, as: label)
  }

  /// Runs the guest and checks its report. Returns a remark.
  func check(_ context: CaseContext, as label: String = "guest") throws -> String {
    let child = try context.start(command(context, as: label), as: label)
    let status = try child.wait()
    let report = BareMetalReport(child.output)
    if let fault = report.fault { throw Failed("\(fault) (status \(status)); \(child.lastMessage)") }
    // A guest without a failed check writes 0 to the debug exit port. The exit status is then (0 << 1) | 1.
    try context.require(status == 1, "exit status \(status), expected 1; \(child.lastMessage)")
    return report.remark
  }

  /// Runs the same guest and device under QEMU. The result is a remark and never fails the case.
  func remarkUnderQEMU(_ context: CaseContext) throws -> String {
    let child = try context.start(qemu(context), as: "qemu")
    // After an error of KVM_RUN, QEMU stops the guest and waits for a debugger.
    let isBroken = { child.errors.contains("kvm run failed") }
    let end = ContinuousClock.now + .seconds(120)
    while child.isRunning, !isBroken(), ContinuousClock.now < end { usleep(200_000) }
    let report = BareMetalReport(child.output)
    if isBroken() {
      child.kill()
      let first = child.errors.split(separator: "\n").first { $0.contains("kvm run failed") } ?? ""
      return "the VM stopped: \(first)"
    }
    guard !child.isRunning else {
      child.kill()
      return "the guest did not end within 120 s; \(child.lastMessage)"
    }
    return "\(report.fault ?? report.remark); status \(try child.wait())"
  }

  private func sluice(_ context: CaseContext, as label: String) throws -> [String] {
    let program = context.manifest.sluice
    let opener = user.map { [program, "open", "--user", $0] + options + devices + ["--"] } ?? []
    return opener + [program, "run"] + context.manifest.iommuOption + [
      "--kernel", try context.guest(name), "--debug-exit", "--cpus", "\(cpus)",
      "--memory", memory, "--summary", "--trace", context.file("\(label).jsonl").path, "--append", append,
    ] + options + devices.flatMap { ["--device", $0] }
  }

  private func qemu(_ context: CaseContext) throws -> [String] {
    [
      "qemu-system-x86_64", "-accel", "kvm", "-M", "q35", "-cpu", "host", "-smp", "\(cpus)", "-m", "128M",
      "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio", "-append", append,
      "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", try context.guest(name),
    ] + vfioDevices(devices)
  }
}

/// Returns QEMU's arguments for passed-through devices, which get the same PCI slots as under Sluice. A device with
/// `,port` is behind a root port, whose slot the guest drives itself as under Sluice.
func vfioDevices(_ devices: [String]) -> [String] {
  let ports = devices.contains { $0.hasSuffix(",port") }
  let native = ports ? ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"] : []
  return native
    + devices.enumerated().flatMap { index, device in
      let slot = "addr=\(String(index + 1, radix: 16)).0"
      guard device.hasSuffix(",port") else { return ["-device", "vfio-pci,host=\(device),\(slot)"] }
      return [
        "-device", "pcie-root-port,id=port\(index),chassis=\(index + 1),slot=\(index + 1),\(slot)",
        "-device", "vfio-pci,host=\(device.dropLast(",port".count)),bus=port\(index)",
      ]
    }
}
