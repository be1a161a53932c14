// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A guest of `bench`. Its command runs it under a VMM with the best settings of that VMM.
struct BenchGuest {
  enum Image {
    /// `Guests/first`: a kernel for Sluice, and firmware for QEMU. It runs before any other guest code.
    case first
    /// Another guest of `Guests/`, as a kernel.
    case small(String)
    case linux(steps: [String])
  }

  let image: Image
  var devices: [String] = []
  var append = ""
  var memory = "512M"
  var cpus = 1
  /// Further options for Sluice.
  var options: [String] = []

  func command(_ vmm: VMMName, _ context: CaseContext) throws -> [String] {
    switch vmm {
    case .sluice: return try sluice(context)
    case .qemu: return try qemu(context, "q35", firmware: nil)
    case .microvm:
      // microvm has its default devices. A Linux guest is not faster without the timer, the interrupt
      // controller and the clock chip (pit, pic, rtc). With KVM's interrupt controllers, a Linux guest with a
      // device does not start.
      return try qemu(context, "microvm,pcie=on", firmware: "qboot.rom")
    case .kvmtool: return try kvmtool(context)
    case .program:
      guard case .small(let name) = image else { throw Failed("exit-loop: runs only small guests") }
      return [context.manifest.programs + "/exit-loop", try context.guest(name), append]
    }
  }

  private func sluice(_ context: CaseContext) throws -> [String] {
    let start = [context.manifest.sluice, "run", "--memory", memory, "--cpus", "\(cpus)"] + options
    return try start + boot(context, kernel: "--kernel", initrd: "--initrd", append: "--append")
      + (isLinux ? [] : ["--debug-exit"]) + devices.flatMap { ["--device", $0] }
  }

  /// The host's CPU model, without an MSR that KVM inside a virtual machine may offer and then reject.
  private static let processor = "host,-arch-capabilities"

  /// Returns the command of QEMU.
  ///
  /// Without a display, the firmware does not write to the serial port. The writes would take time.
  private func qemu(_ context: CaseContext, _ machine: String, firmware: String?) throws -> [String] {
    var arguments = [
      "qemu-system-x86_64", "-accel", "kvm", "-M", machine, "-cpu", Self.processor, "-smp", "\(cpus)", "-m",
      memory,
      "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
    ]
    if case .first = image {
      arguments += ["-bios", "\(context.manifest.guests)/first.bin"]
    } else {
      if let firmware { arguments += ["-bios", firmware] }
      arguments += try boot(context, kernel: "-kernel", initrd: "-initrd", append: "-append")
    }
    if !isLinux { arguments += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"] }
    return arguments + vfioDevices(devices)
  }

  /// Returns the command of kvmtool. It boots a guest without ACPI, so the guest ends by a reset.
  private func kvmtool(_ context: CaseContext) throws -> [String] {
    guard let program = context.manifest.kvmtool, isLinux else {
      throw Failed("kvmtool: not available for this guest")
    }
    let boot = try boot(context, kernel: "--kernel", initrd: "--initrd", append: "--params", last: ["reboot"])
    return [
      program, "run", "--mem", "\(memory.filter(\.isNumber))", "--cpus", "\(cpus)", "--console", "serial",
      "--network", "mode=none",
    ] + boot + devices.flatMap { ["--vfio-pci", $0] }
  }

  /// True if the output contains the last text that the guest writes.
  func hasEnded(_ output: String) -> Bool {
    switch image {
    case .first: output.contains("!")
    case .small: BareMetalReport(output).fault == nil
    case .linux: output.contains("lab: end")
    }
  }

  var isLinux: Bool { if case .linux = image { true } else { false } }

  private func boot(
    _ context: CaseContext, kernel: String, initrd: String, append: String, last: [String] = []
  ) throws -> [String] {
    switch image {
    case .first: return [kernel, try context.guest("first")]
    case .small(let name): return [kernel, try context.guest(name), append, self.append]
    case .linux(let steps):
      let files = try context.kernel(.newCloud)
      let initramfs = steps.contains("random-read") ? files.fioInitramfs : files.initramfs
      guard let initramfs else { throw Failed("fio: not installed; install the package fio") }
      let steps = (steps + last).joined(separator: ",")
      let line = "console=ttyS0 quiet panic=-1 lab.steps=\(steps) \(self.append)"
      return [kernel, files.image, initrd, initramfs, append, line]
    }
  }
}
