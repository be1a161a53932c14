// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for Sluice on a terminal. At its end, Sluice restores the terminal and releases the device.
enum TerminalCases {
  static let all: [Case] = [
    Case("typed-input", "typed input reaches the guest's shell") { context in
      let terminal = try Terminal()
      let before = try terminal.settings()
      let child = try start(steps: ["shell"], on: terminal, context)
      try child.expect("lab: shell")
      terminal.type("echo answer-$((40 + 2))\n")
      try child.expect("answer-42")
      terminal.type("exit\n")
      try check(child, ends: 0, terminal, before, context)
      return ""
    },
    Case("escape", "Ctrl-A x quits; Ctrl-A Ctrl-A does not") { context in
      let terminal = try Terminal()
      let before = try terminal.settings()
      let child = try start(steps: ["shell"], on: terminal, context)
      try child.expect("lab: shell")
      try context.require(try terminal.settings() != before, "the terminal is not raw while the guest runs")
      terminal.type("\u{1}\u{1}echo still-$((40 + 2))\n")
      try child.expect("still-42")
      terminal.type("\u{1}x")
      try check(child, ends: 0, terminal, before, context)
      return ""
    },
    Case("event-loop", "Sluice releases its device after a failed epoll_create1 or epoll_ctl") { context in
      for (call, error) in [("epoll_create1", "EMFILE"), ("epoll_ctl", "ENOSPC")] {
        let terminal = try Terminal()
        let before = try terminal.settings()
        let tracer = [
          "strace", "-f", "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(call):error=\(error)",
        ]
        let guest = LinuxGuest(devices: [Address.bigDrive], steps: [])
        let child = try context.start(
          Terminal.foreground + tracer + guest.command(context), as: call, input: terminal.slave)
        try check(child, ends: 1, terminal, before, context)
        try context.require(child.lastMessage.contains(call.prefix(5)), child.lastMessage)
        let trace = try Trace(file: context.file("trace.jsonl"))
        try context.require(
          trace.records.contains { $0.event == "phase" && $0.name == "devices-handed-back" },
          "\(call): Sluice did not release the device")
      }
      return ""
    },
    signals("sigint", SIGINT, status: 130, after: [0.02, 0.3, 1, 4]),
    signals("sigterm", SIGTERM, status: 143, after: [0.1, 0.6, 2, 8]),
  ]

  private static func signals(
    _ name: String, _ number: Int32, status: Int32, after delays: [Double]
  ) -> Case {
    Case(name, "a signal at any time restores the terminal and releases the device", limit: 150) { context in
      for delay in delays {
        let terminal = try Terminal()
        let before = try terminal.settings()
        let child = try start(steps: ["nvme-sha256", "shell"], on: terminal, context, as: "after-\(delay)")
        let sluice = try child.sluice()
        usleep(UInt32(delay * 1_000_000))
        // Until the program handles the signal, the signal's default action ends it with the same status.
        _ = kill(sluice, number)
        do {
          try check(child, ends: status, terminal, before, context)
        } catch let error as Failed {
          throw Failed("after \(delay) s: \(error)")
        }
      }
      return "after each of \(delays.count) delays"
    }
  }

  /// Starts a guest with the big drive and with its console on a terminal.
  private static func start(
    steps: [String], on terminal: Terminal, _ context: CaseContext, as name: String = "guest"
  ) throws -> Child {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let guest = LinuxGuest(devices: [Address.bigDrive], steps: steps)
    return try context.start(Terminal.foreground + guest.command(context), as: name, input: terminal.slave)
  }

  private static func check(
    _ child: Child, ends status: Int32, _ terminal: Terminal, _ before: String, _ context: CaseContext
  ) throws {
    let got = try child.wait(within: 30)
    try context.require(got == status, "exit status \(got), expected \(status); \(child.lastMessage)")
    let after = try terminal.settings()
    try context.require(after == before, "the terminal's settings are \(after), expected \(before)")
    let device = HostDevice(Address.bigDrive)
    try device.requireReleased()
    try device.bind(to: "nvme")
    try device.bind(to: "vfio-pci")
  }
}
