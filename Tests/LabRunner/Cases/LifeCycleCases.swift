// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases in which a guest rebinds, resets or removes its drive, starts a second kernel, or ends. The drive
/// works afterwards.
enum LifeCycleCases {
  static let all: [Case] = [
    drive(
      "nvme-life",
      "the guest rebinds the driver, resets the drive through sysfs, removes the function and rescans the bus",
      [
        "nvme-sha256", "nvme-rebind", "nvme-sha256", "nvme-reset", "nvme-sha256", "nvme-remove-rescan",
        "nvme-sha256",
      ]),
    drive(
      "nvme-kexec", "the guest starts a second kernel by kexec", ["nvme-sha256", "kexec", "nvme-sha256"],
      usesKexec: true),
    end("power-off", "status 0", [], status: 0),
    end("reboot", "status 3", ["reboot"], status: 3),
    end("panic", "status 4, through pvpanic", ["panic"], status: 4),
    // In `test`, the cases `service` and `control` cover these presses.
    Case(
      "power-button", "SIGTERM presses the power button; a guest without a listener ends at the deadline",
      limit: 90, isLong: true
    ) {
      try powerButton($0)
    },
    Case("power-button-early", "a press of the power button before Linux listens does no harm") {
      try earlyPowerButton($0)
    },
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

  /// Sends SIGTERM to a guest that waits for its power button, and to a guest that does not.
  private static func powerButton(_ context: CaseContext) throws -> String {
    for (step, sign, timeout, status, outcome) in [
      ("button", "lab: button ready", 60, 0, "power-off"), ("idle", "lab: idle", 2, 143, "signal 15"),
    ] as [(String, String, Int, Int32, String)] {
      var guest = LinuxGuest(devices: [Address.bigDrive], steps: [step])
      guest.options = ["--stop-timeout", "\(timeout)"]
      let child = try context.start(guest.command(context), as: step)
      try child.expect(sign)
      kill(child.id, SIGTERM)
      let end = try child.wait()
      try context.require(
        end == status, "\(step): exit status \(end), expected \(status); \(child.lastMessage)")
      try context.require(
        child.errors.contains("summary: \(outcome)"), "\(step): no outcome '\(outcome)' in the summary")
      try HostDevice(Address.bigDrive).requireReleased()
    }
    return ""
  }

  /// Presses the power button before Linux has set up its local APIC. The guest continues, and the second SIGTERM ends
  /// the VM.
  private static func earlyPowerButton(_ context: CaseContext) throws -> String {
    var guest = LinuxGuest(devices: [], steps: ["idle"], append: "loglevel=7")
    guest.options = ["--stop-timeout", "60"]
    let child = try context.start(guest.command(context), as: "early")
    // Linux writes its first lines when it registers the console, with interrupts on and before late_time_init().
    try child.expect("Linux version")
    kill(child.id, SIGTERM)
    try child.expect("lab: idle")
    kill(child.id, SIGTERM)
    let end = try child.wait()
    try context.require(end == 143, "early: exit status \(end), expected 143; \(child.lastMessage)")
    return ""
  }

  private static func end(_ name: String, _ status: String, _ steps: [String], status expected: Int32) -> Case
  {
    Case(name, "a Linux guest ends; Sluice exits with \(status)") { context in
      let lines = try LinuxGuest(devices: [], steps: steps, status: expected).run(context)
      return lines.lines.first ?? ""
    }
  }
}
