// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A guest with a Debian kernel and the lab's initramfs.
struct LinuxGuest {
  var kernel: KernelName = .newCloud
  var devices: [String] = []
  var cpus = 1
  var memory = "512M"
  var steps: [String]
  var usesKexec = false
  /// The expected exit status of Sluice. QEMU always exits with 0 here.
  var status: Int32 = 0
  var options: [String] = []
  /// Further words of the kernel's command line.
  var append = ""

  /// Returns the command that runs the guest under the case's VMM.
  func command(_ context: CaseContext) throws -> [String] {
    let kernel = try context.kernel(kernel)
    let initramfs = try initramfs(kernel)
    // kvmtool has no ACPI, so its guest ends by a reset.
    let steps = context.vmm == "kvmtool" ? steps + ["reboot"] : steps
    let line = "console=ttyS0 quiet panic=-1 lab.steps=\(steps.joined(separator: ",")) \(append)"
    switch context.vmm {
    case "kvmtool":
      guard let program = context.manifest.kvmtool else { throw Failed("kvmtool is not installed") }
      return [
        program, "run", "--kernel", kernel.image, "--initrd", initramfs, "--params", line, "--mem",
        memory.filter(\.isNumber), "--cpus", "\(cpus)", "--console", "serial", "--network", "mode=none",
      ] + devices.flatMap { ["--vfio-pci", $0] }
    case "qemu":
      return [
        "qemu-system-x86_64", "-accel", "kvm", "-M", "q35", "-cpu", "host", "-smp", "\(cpus)",
        "-m", memory, "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio", "-device", "pvpanic",
        "-kernel", kernel.image, "-initrd", initramfs, "-append", line,
      ] + vfioDevices(devices)
    default:
      return [
        context.manifest.sluice, "run",
      ] + context.manifest.iommuOption + [
        "--kernel", kernel.image, "--initrd", initramfs, "--append", line,
        "--memory", memory, "--cpus", "\(cpus)", "--summary", "--trace", context.file("trace.jsonl").path,
      ] + devices.flatMap { ["--device", $0] } + options
    }
  }

  private func initramfs(_ kernel: Manifest.GuestKernel) throws -> String {
    guard steps.contains(where: { $0.hasPrefix("fio-") }) else {
      return usesKexec ? kernel.kexecInitramfs ?? kernel.initramfs : kernel.initramfs
    }
    guard let initramfs = kernel.fioInitramfs else {
      throw Failed("fio: not installed; install the package fio")
    }
    return initramfs
  }

  /// Runs the guest to its end and checks its end and its drives. Returns the guest's `lab:` lines.
  func run(_ context: CaseContext) throws -> GuestLines {
    let child = try context.start(command(context), as: "guest")
    let status = try child.wait()
    let lines = GuestLines(child.output)
    let expected = context.vmm == "qemu" ? 0 : self.status
    try context.require(lines.faults.isEmpty, lines.faults.joined(separator: "; "))
    try context.require(
      lines.ended,
      "the guest did not reach its end (status \(status)): \(child.lastLine); \(child.lastMessage)")
    try context.require(
      status == expected, "exit status \(status), expected \(expected); \(child.lastMessage)")
    for device in devices {
      try checkDrive(String(device.prefix { $0 != "," }), in: lines, context)
    }
    return lines
  }

  /// Checks a drive of known content. Each read of the whole drive must give the content that the lab wrote.
  private func checkDrive(_ address: String, in lines: GuestLines, _ context: CaseContext) throws {
    guard let drive = context.manifest.drives[address] else { return }
    let sums = lines.values(of: "nvme-sha256").filter { $0.first == drive.serial }.compactMap(\.last)
    let expected = steps.count { $0 == "nvme-sha256" }
    try context.require(
      sums.count == expected, "\(drive.serial) was read \(sums.count) of \(expected) times")
    for sum in sums {
      try context.require(
        sum == drive.sha256, "\(drive.serial): the guest read \(sum), expected \(drive.sha256)")
    }
  }
}

/// The lines of a Linux guest that start with `lab: `.
struct GuestLines {
  let lines: [String]

  init(_ output: String) {
    lines = output.split(whereSeparator: \.isNewline).compactMap { line in
      line.range(of: "lab: ").map { String(line[$0.upperBound...]) }
    }
  }

  var faults: [String] { lines.filter { $0.hasPrefix("not ok") } }
  /// True if the guest has reached its end. A message of its kernel may follow on the same line, because the
  /// kernel does not wait for the output of a process.
  var ended: Bool { lines.contains { $0 == "end" || $0.hasPrefix("end[") } }

  /// Returns the words after `ok STEP` of every such line.
  func values(of step: String) -> [[String]] {
    lines.compactMap { line in
      let words = line.split(separator: " ").map(String.init)
      return words.starts(with: ["ok", step]) ? Array(words.dropFirst(2)) : nil
    }
  }
}
