// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of the guest `fuzz`. It makes random accesses to ports, configuration space and BARs, which depend
/// on a seed.
struct GuestFuzz {
  let seconds: Int
  let seed: Int

  static let all = [
    Case(
      "fuzz-guest", "small guest: 4 vCPUs make random accesses for 8 s (longer: `Tests/lab fuzz guest`)",
      limit: 180
    ) { context in try GuestFuzz(seconds: 8, seed: 1).run(context) },
    Case(
      "fuzz-guest-long", "small guest: 4 vCPUs make random accesses for 10 minutes", limit: 900,
      isLong: true
    ) { context in try GuestFuzz(seconds: 600, seed: 2).run(context) },
  ]

  init(seconds: Int, seed: Int) { (self.seconds, self.seed) = (seconds, seed) }

  /// Creates the run from the name of its case (see ``asCase``), or returns nil for another name. The runner
  /// in L1 finds the case by this name.
  init?(named name: String) {
    let words = name.split(separator: "-")
    guard words.count == 4, words[0] == "fuzz", words[1] == "guest", let seconds = Int(words[2]),
      let seed = Int(words[3])
    else { return nil }
    self.init(seconds: seconds, seed: seed)
  }

  var asCase: Case {
    Case("fuzz-guest-\(seconds)-\(seed)", "", limit: seconds * 2 + 150) { try run($0) }
  }

  private static let devices = [
    Address.bigDrive, Address.edu, Address.sharedMemory, Address.testDevice, Address.network, Address.usb,
    Address.disk, Address.scsi,
  ]
  /// The maximum number of lines on standard error: one for each kind of warning of each function and vCPU,
  /// and the summary.
  private static let mostLines = 200
  /// The size of guest RAM in MiB.
  private static let memory = 128
  /// The maximum growth of the process after its start, in KiB.
  private static let mostGrowth = 16 << 10

  func run(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    context.note("to repeat: Tests/lab fuzz guest --seconds \(seconds) --seed \(seed)")
    let log = try KernelLog()
    var guest = BareMetalGuest("fuzz", Self.devices, append: "seed=\(seed)", cpus: 4)
    // Preallocate guest RAM. The measured growth is then growth of the process.
    guest.memory = "\(Self.memory)M,prealloc"
    let trace = context.file("guest.jsonl").path
    // No check needs the trace, which would have hundreds of megabytes.
    let command = try guest.command(context, as: "guest").filter { $0 != "--trace" && $0 != trace }
    let child = try context.start(command, as: "guest")
    let growth = try drive(child)
    let status = try child.wait()
    let report = BareMetalReport(child.output)
    context.note("events: \(Self.events(child.output))")
    let lines = child.errors.split(whereSeparator: \.isNewline)
    if let fault = report.fault {
      throw Failed("seed \(seed): \(fault) (status \(status)); \(child.lastMessage)")
    }
    try context.require(
      child.output.contains("# \(Self.devices.count) functions"), "the guest does not see every function")
    try context.require(status == 1, "seed \(seed): status \(status), expected 1; \(child.lastMessage)")
    try context.require(
      lines.count <= Self.mostLines,
      "seed \(seed): \(lines.count) lines on standard error: \(lines.prefix(3))")
    try context.require(growth <= Self.mostGrowth, "seed \(seed): the process grew by \(growth) KiB")
    for device in Self.devices { try HostDevice(device).requireReleased() }
    let faults = try log.faults()
    try context.require(faults.isEmpty, "seed \(seed): L1's log has \(faults.prefix(3))")
    return "\(report.remark); \(lines.count) lines on standard error; grew by \(growth) KiB"
  }

  /// Ends the guest after its time. Returns the growth of the process in KiB.
  private func drive(_ child: Child) throws -> Int {
    try child.expect("# seed", within: 60)
    let process = try child.sluice()
    let half = Duration.seconds(seconds) / 2
    let middle = ContinuousClock.now + half
    // The measurement begins after half of the time, and after all of guest RAM is populated in the background.
    while child.isRunning, try ContinuousClock.now < middle || Self.residentSize(process) < Self.memory << 10
    {
      guard ContinuousClock.now < middle + .seconds(60) else { throw Failed("guest RAM is not populated") }
      usleep(100_000)
    }
    let before = child.isRunning ? try Self.residentSize(process) : 0
    let end = ContinuousClock.now + half
    while child.isRunning, ContinuousClock.now < end { usleep(100_000) }
    // A random read of the serial port may take a byte, so type several.
    let after = child.isRunning ? try Self.residentSize(process) : before
    while child.isRunning, ContinuousClock.now < end + .seconds(60) {
      try child.type("q")
      usleep(200_000)
    }
    return after - before
  }

  /// Returns the resident memory in KiB (proc(5), VmRSS).
  private static func residentSize(_ process: Int32) throws -> Int {
    let line = try ProcFile.text("/proc/\(process)/status").split(separator: "\n").first {
      $0.hasPrefix("VmRSS:")
    }
    guard let line, let size = Int(line.filter(\.isNumber)) else {
      throw Failed("process \(process) has no VmRSS")
    }
    return size
  }

  /// Returns `port 12, ecam 1` from lines such as `# event port 12`.
  private static func events(_ output: String) -> String {
    output.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("# event ") }
      .map { String($0.dropFirst(8)) }.joined(separator: ", ")
  }
}
