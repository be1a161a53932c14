// SPDX-License-Identifier: Apache-2.0

/// Cases in which a guest rebinds, resets or removes its drive, starts a second kernel, or ends. The drive
/// works afterwards.
enum LifeCycleCases {
  static let all: [Case] = [
    drive(
      "nvme-rebind", "the guest unbinds and rebinds the driver",
      ["nvme-sha256", "nvme-rebind", "nvme-sha256"]),
    drive(
      "nvme-reset", "the guest resets the drive through sysfs", ["nvme-sha256", "nvme-reset", "nvme-sha256"]),
    drive(
      "nvme-remove-rescan", "the guest removes the function and rescans the bus",
      ["nvme-sha256", "nvme-remove-rescan", "nvme-sha256"]),
    drive(
      "nvme-kexec", "the guest starts a second kernel by kexec", ["nvme-sha256", "kexec", "nvme-sha256"],
      usesKexec: true),
    end("power-off", "status 0", [], status: 0),
    end("reboot", "status 3", ["reboot"], status: 3),
    end("panic", "status 4, through pvpanic", ["panic"], status: 4),
  ]

  private static func drive(
    _ name: String, _ purpose: String, _ steps: [String], usesKexec: Bool = false
  ) -> Case {
    Case(name, "\(purpose); the drive is readable before and after", limit: 120) { context in
      let guest = LinuxGuest(devices: [Address.bigDrive], steps: steps, usesKexec: usesKexec)
      let lines = try guest.run(context)
      for step in steps where step != "nvme-sha256" {
        try context.require(!lines.values(of: step).isEmpty, "the guest did not perform the step '\(step)'")
      }
      return try LinuxCases.describe(lines, context)
    }
  }

  private static func end(_ name: String, _ status: String, _ steps: [String], status expected: Int32) -> Case
  {
    Case(name, "a Linux guest ends; Sluice exits with \(status)") { context in
      let lines = try LinuxGuest(devices: [], steps: steps, status: expected).run(context)
      return lines.lines.first ?? ""
    }
  }
}
