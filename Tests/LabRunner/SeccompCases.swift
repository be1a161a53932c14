// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The filter against what Sluice does: strace sees every call that a thread makes after loading it.
enum SeccompCases {
  static let all: [Case] = [
    Case("seccomp-rules", "every rule of the filter is used, over guests of every kind", limit: 420) {
      bench in
      guard bench.vmm == "sluice" else { throw Skipped("only for Sluice") }
      let table = SystemCalls(table: try Command.output([bench.manifest.sluice, "run", "--print-seccomp"]))
      try bench.require(!table.made.isEmpty, "--print-seccomp printed no table")
      bench.isTracing = true
      for scenario in scenarios {
        do {
          try scenario.run(bench)
        } catch let error as Failed {
          throw Failed("\(scenario.name): \(error)")
        }
      }
      let made = try SystemCalls(directory: bench.directory, prefix: "strace")
      try Data(made.text.utf8).write(to: bench.file("made.txt"))
      let forbidden = made.without(table)
      try bench.require(forbidden.isEmpty, "made, but not in the table: \(forbidden.joined(separator: ", "))")
      let unused = table.without(made)
      try bench.require(unused.isEmpty, "never made: \(unused.joined(separator: ", "))")
      return "\(table.made.values.map(\.count).reduce(0, +)) rules"
    }
  ]

  private struct Scenario {
    let name: String
    let run: @Sendable (Bench) throws -> Void
  }

  private static let scenarios = [
    Scenario(name: "devices") { bench in
      let devices = [Address.bigDrive, Address.network, Address.usb]
      let steps = ["nvme-sha256", "network", "usb-sha256"]
      _ = try LinuxGuest(kernel: .newFull, devices: devices, cpus: 2, steps: steps).run(bench)
    },
    Scenario(name: "life cycle") { bench in
      let steps = ["nvme-sha256", "nvme-rebind", "nvme-reset", "nvme-remove-rescan", "nvme-sha256"]
      _ = try LinuxGuest(devices: [Address.bigDrive], steps: steps).run(bench)
    },
    Scenario(name: "terminal") { bench in
      let terminal = try Terminal()
      let guest = LinuxGuest(steps: ["shell"])
      let child = try bench.start(
        Terminal.foreground + guest.command(bench), as: "terminal", input: terminal.slave)
      try child.expect("lab: shell")
      // More than the serial port's FIFO holds.
      terminal.type("echo " + String(repeating: "long ", count: 40) + "line\n")
      try child.expect("long line")
      terminal.type("\u{1}x")
      _ = try child.wait(within: 30)
    },
    Scenario(name: "signal") { bench in
      let guest = LinuxGuest(devices: [Address.bigDrive], steps: ["nvme-sha256", "shell"])
      let child = try bench.start(guest.command(bench), as: "signal")
      try child.expect("lab: shell")
      _ = kill(try child.sluice(), SIGTERM)
      _ = try child.wait(within: 30)
    },
    Scenario(name: "peers") { bench in
      _ = try SmallGuest("bar-lazy-open", [Address.edu, Address.sharedMemory], append: "toggles=100")
        .check(bench, as: "peers")
    },
    Scenario(name: "vectors") { bench in
      _ = try SmallGuest("msix", [Address.bigDrive], cpus: 2).check(bench, as: "vectors")
    },
    Scenario(name: "triple fault") { bench in
      let guest = SmallGuest("hello", append: "end=triple-fault")
      _ = try bench.start(guest.command(bench, as: "fault"), as: "fault").wait(within: 30)
    },
  ]
}
