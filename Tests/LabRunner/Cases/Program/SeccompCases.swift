// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A comparison of the seccomp filter with Sluice's system calls. strace sees every call that a thread makes
/// after it loads the filter.
enum SeccompCases {
  static let all: [Case] = [
    Case("seccomp-rules", "guests of every kind together use every rule of the filter", limit: 420) {
      context in
      guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
      let text = try Command.output(
        [context.manifest.sluice, "run", "--print-seccomp"] + context.manifest.iommuOption)
      let table = SystemCalls(table: text, contingent: true)
      try context.require(!table.made.isEmpty, "--print-seccomp printed no table")
      context.isTracing = true
      for scenario in scenarios {
        do {
          try scenario.run(context)
        } catch let error as Failed {
          throw Failed("\(scenario.name): \(error)")
        }
      }
      let made = try SystemCalls(directory: context.directory, prefix: "strace")
      try Data(made.text.utf8).write(to: context.file("made.txt"))
      let forbidden = made.without(table)
      try context.require(
        forbidden.isEmpty, "calls that the table lacks: \(forbidden.joined(separator: ", "))")
      let needed = SystemCalls(table: text, contingent: false)
      let unused = needed.without(made)
      try context.require(
        unused.isEmpty, "rules of the table without a call: \(unused.joined(separator: ", "))")
      let idle = table.without(needed).filter { table.without(made).contains($0) }
      context.note("contingent rules without a call in this run: \(idle.joined(separator: ", "))")
      return "\(table.made.values.map(\.count).reduce(0, +)) rules"
    }
  ]

  private struct Scenario {
    let name: String
    let run: @Sendable (CaseContext) throws -> Void
  }

  /// The traced runs. Only one has a Linux guest, because each vCPU exit takes milliseconds under strace
  /// here.
  private static let scenarios = [
    Scenario(name: "life cycle and terminal") { context in
      let terminal = try Terminal()
      let steps = ["nvme-sha256", "nvme-rebind", "nvme-reset", "nvme-remove-rescan", "shell"]
      let guest = LinuxGuest(devices: [Address.bigDrive], steps: steps)
      let command = try Terminal.foreground + guest.command(context)
      let child = try context.start(command, as: "terminal", input: terminal.slave)
      try child.expect("lab: shell")
      // More bytes than the serial port's FIFO holds.
      terminal.type("echo " + String(repeating: "long ", count: 40) + "line\n")
      try child.expect("long line")
      terminal.type("\u{1}x")
      let status = try child.wait(within: 30)
      try context.require(status == 0, "exit status \(status); \(child.lastMessage)")
    },
    Scenario(name: "peers") { context in
      let devices = [Address.edu, Address.sharedMemory]
      _ = try BareMetalGuest("bar-lazy-open", devices).check(context, as: "peers")
    },
    Scenario(name: "toggles") { context in
      _ = try BareMetalGuest("memory-enable", [Address.edu], append: "toggles=200", cpus: 2)
        .check(context, as: "toggles")
    },
    Scenario(name: "signal") { context in
      let guest = BareMetalGuest("memory-enable", [Address.edu], cpus: 2)
      let child = try context.start(guest.command(context, as: "signal"), as: "signal")
      try child.expect("ok - the device reads")
      _ = kill(try child.sluice(), SIGTERM)
      let status = try child.wait(within: 30)
      try context.require(status == 12, "exit status \(status); \(child.lastMessage)")
    },
    Scenario(name: "vectors") { context in
      _ = try BareMetalGuest("msix", [Address.bigDrive], cpus: 2).check(context, as: "vectors")
    },
    Scenario(name: "control socket") { context in
      let path = context.file("control").path
      var guest = BareMetalGuest("watch", [Address.plug])
      guest.options = ["--control", path]
      let child = try context.start(guest.command(context, as: "control"), as: "control")
      try child.expect("\nwatching")
      let program = context.manifest.sluice
      for request in [["status"], ["remove", Address.plug], ["stop"]] {
        try Command.output([program, "ctl", path] + request)
      }
      let status = try child.wait(within: 30)
      try context.require(status == 0, "exit status \(status); \(child.lastMessage)")
    },
    Scenario(name: "hot plug") { context in
      let path = context.file("ports").path
      var guest = BareMetalGuest("watch", [Address.plug + ",port"])
      guest.options = ["--control", path]
      let child = try context.start(guest.command(context, as: "ports"), as: "ports")
      try child.expect("\nwatching")
      // Wait until guest RAM is pinned. Before that, the group stays open.
      try child.type("b")
      // The last device leaves, so that the next device is the first one of a new I/O address space.
      let client = [context.manifest.sluice, "ctl", path]
      try leave(Address.plug, client, child, context)
      try child.type("P")
      try Command.output(client + ["add", Address.edu])
      try leave(Address.edu, client, child, context)
      try Command.output(client + ["stop"])
      let status = try child.wait(within: 30)
      try context.require(status == 0, "exit status \(status); \(child.lastMessage)")
    },
    Scenario(name: "first device") { context in
      let path = context.file("empty").path
      var guest = BareMetalGuest("watch", append: "empty=1")
      guest.options = ["--control", path, "--ports", "1"]
      let child = try context.start(guest.command(context, as: "empty"), as: "empty")
      try child.expect("watching", within: 30)
      let client = [context.manifest.sluice, "ctl", path]
      try Command.output(client + ["add", Address.plug])
      try Command.output(client + ["stop"])
      let status = try child.wait(within: 30)
      try context.require(status == 0, "exit status \(status); \(child.lastMessage)")
    },
    Scenario(name: "triple fault") { context in
      let guest = BareMetalGuest("hello", append: "end=triple-fault")
      _ = try context.start(guest.command(context, as: "fault"), as: "fault").wait(within: 30)
    },
  ]

  /// Removes a device from its port. The guest agrees at once.
  private static func leave(
    _ device: String, _ client: [String], _ child: Child, _ context: CaseContext
  ) throws {
    try child.type("p")
    try Command.output(client + ["remove", device])
    try HostDevice(device).requireReleased()
  }
}
