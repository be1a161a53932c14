// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// Random clients of the control socket of a confined VM with two empty ports.
struct SocketFuzz {
  /// The processor time of the clients in seconds.
  let seconds: Int
  let seed: Int

  static let all = [
    Case(
      "socket-fuzz", "8 s of random clients of the control socket; `Tests/lab fuzz socket` for longer",
      limit: 180
    ) {
      context in
      try SocketFuzz(seconds: 8, seed: 1).run(context)
    },
    Case("socket-fuzz-3600", "an hour of random clients of the control socket", limit: 9000, isLong: true) {
      context in
      try SocketFuzz(seconds: 3600, seed: 2).run(context)
    },
  ]

  /// The growth of the VM's resident memory that a used heap explains, in KiB.
  private static let allowedGrowth = 2048

  private func run(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    return try run(context.manifest.sluice, context.guest("watch"), in: context.directory) {
      context.note($0)
    }
  }

  /// Starts a VM and runs the clients.
  ///
  /// - Parameters:
  ///   - program: The path of Sluice.
  ///   - kernel: The path of the guest `watch`.
  ///   - directory: The directory for the socket and the VM's output.
  ///   - note: Receives the progress.
  /// - Returns: A remark.
  func run(_ program: String, _ kernel: String, in directory: URL, _ note: (String) -> Void) throws -> String
  {
    note("to repeat: Tests/lab fuzz socket --seconds \(seconds) --seed \(seed)")
    let path = directory.appending(path: "fuzzed").path
    let child = try Child(
      [
        "setpriv", "--pdeathsig", "TERM", program, "run", "--kernel", kernel, "--append", "empty=1",
        "--memory", "64M", "--ports", "2", "--control", path, "--debug-exit",
      ], log: directory.appending(path: "fuzzed.log"), messages: directory.appending(path: "fuzzed.err"),
      input: nil, deadline: .now + .seconds(3 * seconds + 120))
    defer { if child.isRunning { child.kill() } }
    try child.expect("watching", within: 30)
    let vm = try child.sluice()
    var run = try FuzzedRun(path: path, seed: seed)
    // The first clients load code and grow the heap.
    try run.work(until: Self.processorTime + min(5, Double(seconds) / 4), note)
    // The VM closes the last clients.
    usleep(1_000_000)
    let before = (try ProcessResources(of: vm), try Self.memory(of: vm))
    let start = Self.processorTime
    try run.work(until: start + Double(seconds), note)
    let end = ContinuousClock.now + .seconds(10)
    var changes: [String]
    repeat {
      usleep(1_000_000)
      changes = before.0.differences(from: try ProcessResources(of: vm))
    } while !changes.isEmpty && ContinuousClock.now < end
    guard changes.isEmpty else { throw Failed("the resources change: \(changes.joined(separator: "; "))") }
    let memory = try Self.memory(of: vm)
    guard memory - before.1 <= Self.allowedGrowth else {
      throw Failed("the VM's memory grows from \(before.1) KiB to \(memory) KiB")
    }
    try Command.output([program, "ctl", path, "status"])
    try Command.output([program, "ctl", path, "stop"])
    let status = try child.wait(within: 30)
    guard status == 0 else { throw Failed("status \(status); \(child.lastMessage)") }
    let time = (Self.processorTime - start).formatted(.number.precision(.fractionLength(0)).grouping(.never))
    return "\(run.summary), \(time) s of processor time, memory \(before.1) KiB, then \(memory) KiB"
  }

  /// The processor time of this process in seconds.
  static var processorTime: Double {
    var usage = rusage()
    // SAFETY: getrusage fills in the struct.
    _ = unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }

  /// The resident memory of a process in KiB, without guest RAM in files.
  private static func memory(of process: Int32) throws -> Int {
    let text = try ProcFile.text("/proc/\(process)/status")
    guard let match = text.firstMatch(of: #/RssAnon:\s*([0-9]+) kB/#), let size = Int(match.1) else {
      throw Failed("/proc/\(process)/status: no RssAnon")
    }
    return size
  }
}
