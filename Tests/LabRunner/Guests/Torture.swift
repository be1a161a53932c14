// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of the guest `torture`. The runner is the host process that resets devices and clears their memory
/// bits without notice to Sluice.
struct Torture {
  /// The end of a run.
  enum Length: Equatable {
    case seconds(Int)
    case events(Int)
  }

  let length: Length
  let seed: Int
  /// True if the drive is behind a root port. Its slot is then reset too, and the host injects errors into the drive, removes
  /// it, adds it and replaces it by another drive.
  var hasPort = false

  /// The short runs, which are part of `Tests/lab test`, and a long run.
  static let all = [
    Case(
      "torture", "small guest: 10 s of concurrent random operations (longer: `Tests/lab torture`)",
      limit: 150
    ) { context in try Torture(.seconds(10), seed: 1).run(context) },
    Case(
      "torture-ports",
      "small guest: 1000 random operations, with a drive behind a port that fails, leaves and returns",
      limit: 420
    ) { context in try Torture(.events(1000), seed: 2, hasPort: true).run(context) },
    Case(
      "torture-ports-100000",
      "100000 random operations, with a drive behind a port that fails, leaves and returns",
      limit: 9000, isLong: true
    ) { context in try Torture(.events(100_000), seed: 3, hasPort: true).run(context) },
  ]

  init(_ length: Length, seed: Int, hasPort: Bool = false) {
    (self.length, self.seed, self.hasPort) = (length, seed, hasPort)
  }

  /// Creates the run from the name of its case (see ``asCase``), or returns nil for another name. The runner
  /// in L1 finds the case by this name.
  init?(named name: String) {
    let words = name.split(separator: "-")
    guard words.first == "torture", words.count == 3 || words.count == 4 && words[1] == "ports",
      let length = Int(words[words.count - 2]), let seed = Int(words[words.count - 1])
    else { return nil }
    let hasPort = words.count == 4
    self.init(hasPort ? .events(length) : .seconds(length), seed: seed, hasPort: hasPort)
  }

  var asCase: Case {
    switch length {
    case .seconds(let number): Case("torture-\(number)-\(seed)", "", limit: number * 2 + 150) { try run($0) }
    case .events(let number):
      Case("torture-ports-\(number)-\(seed)", "", limit: number / 10 + 300) { try run($0) }
    }
  }

  /// The number of events, or nil if the time ends the run.
  var events: Int? { if case .events(let number) = length { number } else { nil } }

  /// The number of seconds, or nil if the number of events ends the run.
  var seconds: Int? { if case .seconds(let number) = length { number } else { nil } }

  /// The devices in the order of the guest's numbers, each with the first register of its configuration
  /// space.
  private static let devices: [(address: String, identity: UInt32)] = [
    (Address.bigDrive, 0x0010_1B36), (Address.network, 0x10D3_8086), (Address.edu, 0x11E8_1234),
    (Address.sharedMemory, 0x1110_1AF4),
  ]

  func run(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let repetition = seconds.map { "torture --seconds \($0) --seed \(seed)" } ?? "run \(asCase.name)"
    context.note("to repeat: Tests/lab \(repetition)")
    let log = try KernelLog()
    var guest = BareMetalGuest(
      "torture", Self.devices.enumerated().map { hasPort && $0 == 0 ? $1.address + ",port" : $1.address },
      append: "seed=\(seed) outside=1" + (events.map { " events=\($0) slots=\(max(2, $0 / 8000))" } ?? "")
        + (IOMMUFDCases.mapsBARs(context) ? "" : " peers=0"),
      cpus: 4)
    let control = context.file("control").path
    if hasPort { guest.options = ["--control", control] }
    let child = try context.start(guest.command(context, as: "guest"), as: "guest")
    try drive(child, context, control)
    let status = try child.wait()
    let report = BareMetalReport(child.output)
    for kind in ["event", "invariant"] { context.note("\(kind)s: \(Self.numbers(kind, child.output))") }
    var scan = TraceScan()
    try scan.read(context.file("guest.jsonl"))
    context.note("trace: \(scan.summary)")
    if let fault = report.fault {
      throw Failed("seed \(seed): \(fault) (status \(status)); \(child.lastMessage)")
    }
    try context.require(status == 1, "seed \(seed): status \(status), expected 1; \(child.lastMessage)")
    try context.require(scan.faults.isEmpty, "seed \(seed): \(scan.faults.prefix(3).joined(separator: "; "))")
    if hasPort { try requireRemoved(scan, context) }
    let faults = try log.faults()
    try context.require(faults.isEmpty, "seed \(seed): L1's log has \(faults.prefix(3))")
    // The trace has hundreds of megabytes and no faults.
    try FileManager.default.removeItem(at: context.file("guest.jsonl"))
    return "\(report.remark); \(scan.gates) gate events"
  }

  /// Checks that the drive had errors and resets in its slot, and that it left.
  private func requireRemoved(_ scan: TraceScan, _ context: CaseContext) throws {
    for state in ["contained", "resetting", "leaving", "gone"] {
      try context.require(scan.lives[state] ?? 0 > 0, "the trace has no slot that was \(state)")
    }
    for address in [Address.bigDrive, Address.smallDrive] { try HostDevice(address).requireReleased() }
  }

  /// Performs the operations that the guest requests, and ends the guest after its time.
  private func drive(_ child: Child, _ context: CaseContext, _ control: String) throws {
    try child.expect("# seed", within: 60)
    let sluice = try child.sluice()
    var port = TorturedPort(context, control)
    // Without a time, the deadline of the case ends the run.
    let end = seconds.map { ContinuousClock.now + .seconds($0) } ?? context.deadline
    var offset: UInt64 = 0
    var isEnding = false
    while child.isRunning {
      // The guest waits for the answer to each request.
      if let words = try child.lines(from: &offset).compactMap(Self.request).first {
        if let operation = TorturedPort.Operation(rawValue: words.kind) {
          try port.perform(operation)
        } else {
          let one = Self.devices[words.device]
          try suffer(
            kind: words.kind, hasPort && words.device == 0 ? port.device : one.address, one.identity, sluice)
        }
        try child.type(isEnding ? "oq" : "o")
      } else if !isEnding, ContinuousClock.now > end {
        isEnding = true
        try child.type("q")
      }
      usleep(2_000)
      if let seconds, ContinuousClock.now > end + .seconds(seconds + 60) { return }
    }
    try port.finish()
  }

  private static func request(_ line: Substring) -> (kind: Int, device: Int)? {
    let words = line.split(separator: " ")
    guard words.count == 3, words[0] == "outside", let kind = Int(words[1]), let device = Int(words[2]),
      device < devices.count
    else {
      return nil
    }
    return (kind, device)
  }

  /// Resets the device through sysfs (kind 0) or through Sluice's descriptor (kind 1), or clears and sets the
  /// device's memory bit through that descriptor.
  private func suffer(kind: Int, _ device: String, _ identity: UInt32, _ sluice: Int32) throws {
    if kind == 0 { return try HostDevice.write("1", to: "/sys/bus/pci/devices/\(device)/reset") }
    let foreign = try ForeignDevice(of: sluice, identity: identity)
    if kind == 1 { return try foreign.reset() }
    try foreign.setMemory(false)
    usleep(5_000)
    try foreign.setMemory(true)
  }

  /// Returns `toggle 12, flr 1` from lines such as `# event toggle 12`.
  private static func numbers(_ kind: String, _ output: String) -> String {
    output.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("# \(kind) ") }
      .map { String($0.dropFirst(kind.count + 3)) }.joined(separator: ", ")
  }
}
