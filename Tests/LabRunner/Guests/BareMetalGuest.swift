// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of one guest of `Guests/`.
struct BareMetalGuest {
  let name: String
  let devices: [String]
  let append: String
  let cpus: Int
  /// Of `--memory`.
  var memory = "128M"
  /// What else Sluice is to be told.
  var options: [String] = []

  init(_ name: String, _ devices: [String] = [], append: String = "", cpus: Int = 1) {
    (self.name, self.devices, self.append, self.cpus) = (name, devices, append, cpus)
  }

  /// The command that runs it under the bench's VMM; Sluice's trace goes to `LABEL.jsonl`.
  func command(_ bench: CaseContext, as label: String) throws -> [String] {
    bench.vmm == "qemu" ? try qemu(bench) : try sluice(bench, as: label)
  }

  /// Runs it and checks what it reports; a remark.
  func check(_ bench: CaseContext, as label: String = "guest") throws -> String {
    let child = try bench.start(command(bench, as: label), as: label)
    let status = try child.wait()
    let report = BareMetalReport(child.output)
    if let fault = report.fault { throw Failed("\(fault) (status \(status)); \(child.lastMessage)") }
    // The guests write 0 to the debug exit port when all is well, and the status is (0 << 1) | 1.
    try bench.require(status == 1, "exit status \(status), expected 1; \(child.lastMessage)")
    return report.remark
  }

  /// What QEMU makes of the same guest and device: a remark, never a verdict.
  func besideQEMU(_ bench: CaseContext) throws -> String {
    let child = try bench.start(qemu(bench), as: "qemu")
    // After an error of KVM_RUN QEMU stops the guest and waits for a debugger.
    let isBroken = { child.errors.contains("kvm run failed") }
    let end = ContinuousClock.now + .seconds(120)
    while child.isRunning, !isBroken(), ContinuousClock.now < end { usleep(200_000) }
    let report = BareMetalReport(child.output)
    if isBroken() {
      child.kill()
      let first = child.errors.split(separator: "\n").first { $0.contains("kvm run failed") } ?? ""
      return "the VM died: \(first)"
    }
    guard !child.isRunning else {
      child.kill()
      return "no end after 120 s; \(child.lastMessage)"
    }
    return "\(report.fault ?? report.remark); status \(try child.wait())"
  }

  private func sluice(_ bench: CaseContext, as label: String) throws -> [String] {
    [
      bench.manifest.sluice, "run", "--kernel", try bench.guest(name), "--debug-exit", "--cpus", "\(cpus)",
      "--memory", memory, "--summary", "--trace", bench.file("\(label).jsonl").path, "--append", append,
    ] + options + devices.flatMap { ["--device", $0] }
  }

  private func qemu(_ bench: CaseContext) throws -> [String] {
    [
      "qemu-system-x86_64", "-accel", "kvm", "-M", "q35", "-cpu", "host", "-smp", "\(cpus)", "-m", "128M",
      "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio", "-append", append,
      "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", try bench.guest(name),
    ] + vfioDevices(devices)
  }
}

/// QEMU's arguments for passed-through devices: in the slots in which Sluice has them.
func vfioDevices(_ addresses: [String]) -> [String] {
  addresses.enumerated().flatMap { index, address in
    ["-device", "vfio-pci,host=\(address),addr=\(String(index + 1, radix: 16)).0"]
  }
}
