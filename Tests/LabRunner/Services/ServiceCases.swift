// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases with the package's unit under systemd 252 (Debian 12) and 257 (Debian 13).
enum ServiceCases {
  static let all: [Case] = [
    service("service-252", "bookworm", restarts: 1),
    // With type1, `long` runs the case with systemd 257 and 20 restarts.
    service("service-257", "trixie", restarts: 1, needsIOMMUFD: true),
    service("service-252-restarts", "bookworm", restarts: 20),
    service("service-257-restarts", "trixie", restarts: 20),
  ]

  private static func service(
    _ name: String, _ suite: String, restarts: Int, needsIOMMUFD: Bool = false
  ) -> Case {
    let isLong = restarts > 1
    return Case(
      name,
      "the unit under systemd of \(suite): layers, power button, deadline, \(restarts) \(restarts == 1 ? "restart" : "restarts") after SIGKILL",
      limit: isLong ? 600 : 180, isLong: isLong, needsIOMMUFD: needsIOMMUFD, systemd: suite
    ) { context in
      let container = try SystemdContainer(context, suite: suite)
      defer { container.close() }
      let kernel = try context.kernel(.newCloud)
      try container.copy(kernel.image, to: "srv/vmlinuz")
      try container.copy(kernel.initramfs, to: "srv/initrd")
      try wrongFile(container, context)
      try powerButton(container, context)
      try restart(container, context, times: restarts)
      let version = try container.run(["systemctl", "--version"]).split(separator: "\n").first ?? ""
      return String(version)
    }
  }

  private static func lines(_ context: CaseContext, step: String, timeout: Int) -> [String] {
    [
      "# The virtual machine of the lab.", "kernel /srv/vmlinuz", "initrd /srv/initrd",
      "append console=ttyS0 quiet panic=-1 lab.steps=\(step)", "device \(Address.bigDrive)", "summary",
      "stop-timeout \(timeout)",
    ] + (context.manifest.iommu.map { ["iommu \($0)"] } ?? [])
  }

  /// A line of the configuration file is wrong. systemd does not start the VM again.
  private static func wrongFile(_ container: SystemdContainer, _ context: CaseContext) throws {
    let wrong = lines(context, step: "idle", timeout: 2) + ["cpus none"]
    try container.configure(wrong)
    let output = try container.run(["systemctl", "start", SystemdContainer.unit])
    let end = try container.show("ActiveState", "Result", "ExecMainStatus", "NRestarts")
    try context.require(
      !output.isEmpty && end == ["failed", "exit-code", "2", "0"],
      "with a wrong file: \(end); \(container.lastLines())")
    try container.expect("/etc/sluice/lab.conf:\(wrong.count): ")
  }

  /// The guest waits for its power button. systemctl stop presses the button, and the guest powers off.
  private static func powerButton(_ container: SystemdContainer, _ context: CaseContext) throws {
    try container.configure(lines(context, step: "button", timeout: 100))
    try container.systemctl("start")
    let active = try container.show("ActiveState", "StatusText")
    try context.require(active[0] == "active" && !active[1].isEmpty, "after start: \(active)")
    try container.expect("lab: button ready")
    let main = try container.show("MainPID")[0]
    guard let process = try ConfinedProcess(named: "sluice", inner: main) else {
      throw Failed("the unit's process \(main) is not sluice; \(container.lastLines())")
    }
    _ = try process.requireThreads(ofUser: SystemdRoot.user)
    try process.requireOwnRoot()
    try container.systemctl("stop")
    try requireEnd(container, context, status: "0", outcome: "power-off")
  }

  /// SIGKILL ends the process several times. Each time systemd starts the VM again, and the device is free.
  /// systemctl stop then ends the guest, which does not listen, at the deadline. Sluice extends the unit's shorter
  /// time to stop.
  private static func restart(
    _ container: SystemdContainer, _ context: CaseContext, times: Int
  ) throws {
    try container.configure(lines(context, step: "idle", timeout: SystemdContainer.timeoutStop + 3))
    try container.systemctl("start")
    for number in 1...times {
      // Otherwise there are more starts in ten seconds than StartLimitBurst= allows.
      if times > 2 { try expectIdle(number, container) }
      let process = try container.show("MainPID")[0]
      try container.run(["sh", "-c", "kill -9 \(process)"])
      try container.wait("no restart \(number)") {
        let now = try container.show("NRestarts", "ActiveState", "MainPID")
        try context.require((Int(now[0]) ?? 0) <= number, "a restart failed; \(container.lastLines())")
        return now[0] == "\(number)" && now[1] == "active" && now[2] != process
      }
    }
    try expectIdle(times > 2 ? times + 1 : 1, container)
    try container.systemctl("stop")
    try requireEnd(container, context, status: "143", outcome: "signal 15")
  }

  /// Waits until a number of guests has performed the step `idle`.
  private static func expectIdle(_ count: Int, _ container: SystemdContainer) throws {
    try container.wait("guest \(count) is not idle") {
      try container.journal().components(separatedBy: "lab: idle").count > count
    }
  }

  /// Checks that the unit has ended without a failure, and that the device is free.
  private static func requireEnd(
    _ container: SystemdContainer, _ context: CaseContext, status: String, outcome: String
  ) throws {
    let end = try container.show("ActiveState", "Result", "ExecMainStatus")
    try context.require(
      end == ["inactive", "success", status],
      "after stop: \(end), expected status \(status); \(container.lastLines())")
    try container.expect("summary: \(outcome)")
    try HostDevice(Address.bigDrive).requireReleased()
  }
}
