// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The guests of `Guests/`, one case each.
enum SmallGuestCases {
  /// `isa-debug-exit` turns the byte V into the status (V << 1) | 1; the guests write 0 when all is well.
  static let success: Int32 = 1

  static let all: [Case] = [
    simple("hello", "the console and the exit status", []),
    simple(
      "pci-enumeration", "the bus as a guest without firmware finds it", [Address.edu, Address.bigDrive]),
    simple("bar-lazy-open", "a window opens at its first access", [Address.sharedMemory]),
    Case("memory-enable", "10,000 toggles of the memory bit against a reader; QEMU beside it", limit: 300) {
      bench in
      let report = try run("memory-enable", [Address.edu], cpus: 2, bench)
      let beside = try besideQEMU("memory-enable", [Address.edu], cpus: 2, bench)
      bench.note("the same guest under QEMU: \(beside)")
      return "\(report.passed.count) checks"
    },
    Case("memory-enable-trace", "nothing of a device is mapped when its memory goes off", limit: 180) {
      bench in
      _ = try run("memory-enable", [Address.edu], cpus: 2, bench)
      let trace = try Trace(file: bench.file("trace.jsonl"))
      let faults = trace.faultsOfClosing() + trace.faultsOfLaziness()
      try bench.require(faults.isEmpty, "\(faults.count) faults: " + faults.prefix(3).joined(separator: "; "))
      try bench.require(
        trace.clearingWrites >= 10_000, "the trace has only \(trace.clearingWrites) closing writes")
      return "\(trace.clearingWrites) closing writes, \(trace.records.count) records"
    },
    simple("msix", "vectors arrive, masked ones wait", [Address.bigDrive]),
    simple("edu-dma", "DMA to and from guest memory", [Address.edu]),
  ]

  private static func simple(_ name: String, _ purpose: String, _ devices: [String]) -> Case {
    Case(name, "small guest: \(purpose)") { bench in
      "\(try run(name, devices, cpus: 1, bench).passed.count) checks"
    }
  }

  private static func run(
    _ name: String, _ devices: [String], cpus: Int, _ bench: Bench
  ) throws -> SmallGuestReport {
    let command = [
      bench.manifest.sluice, "run", "--kernel", try bench.guest(name), "--debug-exit", "--cpus", "\(cpus)",
      "--memory", "128M", "--summary", "--trace", bench.file("trace.jsonl").path,
    ]
    let child = try bench.start(command + devices.flatMap { ["--device", $0] }, as: "guest")
    let status = try child.wait()
    let report = SmallGuestReport(child.output)
    if let fault = report.fault {
      throw Failed("\(fault) (status \(status)); \(child.lastMessage)")
    }
    try bench.require(status == success, "exit status \(status), expected \(success); \(child.lastMessage)")
    return report
  }

  /// What QEMU makes of the same guest and device: a remark, never a verdict.
  private static func besideQEMU(
    _ name: String, _ devices: [String], cpus: Int, _ bench: Bench
  ) throws -> String {
    let command = [
      "qemu-system-x86_64", "-accel", "kvm", "-M", "q35", "-cpu", "host", "-smp", "\(cpus)", "-m", "128M",
      "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio",
      "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", try bench.guest(name),
    ]
    let child = try bench.start(command + devices.flatMap { ["-device", "vfio-pci,host=\($0)"] }, as: "qemu")
    do {
      let status = try child.wait(within: 120)
      let report = SmallGuestReport(child.output)
      let verdict = report.fault ?? "\(report.passed.count) checks passed"
      return "\(verdict); status \(status); \(child.lastMessage)"
    } catch let error as Failed {
      return error.description
    }
  }
}
