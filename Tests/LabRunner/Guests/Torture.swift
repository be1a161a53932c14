// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A run of the guest `torture`. The runner is the host process that resets devices and clears their memory
/// bits without notice to Sluice.
struct Torture {
  let seconds: Int
  let seed: Int

  /// The short run, which is part of `Tests/lab test`.
  static let all = [
    Case(
      "torture", "small guest: 10 s of concurrent random operations (longer: `Tests/lab torture`)",
      limit: 150
    ) { context in try Torture(seconds: 10, seed: 1).run(context) }
  ]

  init(seconds: Int, seed: Int) { (self.seconds, self.seed) = (seconds, seed) }

  /// Creates the run from the name of its case (see ``asCase``), or returns nil for another name. The runner
  /// in L1 finds the case by this name.
  init?(named name: String) {
    let words = name.split(separator: "-")
    guard words.count == 3, words[0] == "torture", let seconds = Int(words[1]), let seed = Int(words[2])
    else {
      return nil
    }
    self.init(seconds: seconds, seed: seed)
  }

  var asCase: Case {
    Case("torture-\(seconds)-\(seed)", "", limit: seconds * 2 + 150) { try run($0) }
  }

  /// The devices in the order of the guest's numbers, each with the first register of its configuration
  /// space.
  private static let devices: [(address: String, identity: UInt32)] = [
    (Address.bigDrive, 0x0010_1B36), (Address.network, 0x10D3_8086), (Address.edu, 0x11E8_1234),
    (Address.sharedMemory, 0x1110_1AF4),
  ]

  func run(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    context.note("to repeat: Tests/lab torture --seconds \(seconds) --seed \(seed)")
    let log = try KernelLog()
    let guest = BareMetalGuest(
      "torture", Self.devices.map(\.address), append: "seed=\(seed) outside=1", cpus: 4)
    let child = try context.start(guest.command(context, as: "guest"), as: "guest")
    try drive(child)
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
    let faults = try log.faults()
    try context.require(faults.isEmpty, "seed \(seed): L1's log has \(faults.prefix(3))")
    // The trace has hundreds of megabytes and no faults.
    try FileManager.default.removeItem(at: context.file("guest.jsonl"))
    return "\(report.remark); \(scan.gates) gate events"
  }

  /// Performs the operations that the guest requests, and ends the guest after its time.
  private func drive(_ child: Child) throws {
    try child.expect("# seed", within: 60)
    let sluice = try child.sluice()
    let end = ContinuousClock.now + .seconds(seconds)
    var answered = 0
    var isEnding = false
    while child.isRunning {
      let asked = child.output.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("outside ") }
      // The last line may be incomplete.
      if asked.count > answered, let words = Self.request(asked[answered]) {
        try suffer(kind: words.kind, device: words.device, sluice)
        answered += 1
        try child.type(isEnding ? "oq" : "o")
      } else if !isEnding, ContinuousClock.now > end {
        isEnding = true
        try child.type("q")
      }
      usleep(2_000)
      if ContinuousClock.now > end + .seconds(seconds + 60) { return }
    }
  }

  private static func request(_ line: Substring) -> (kind: Int, device: Int)? {
    let words = line.split(separator: " ")
    guard words.count == 3, let kind = Int(words[1]), let device = Int(words[2]), device < devices.count
    else {
      return nil
    }
    return (kind, device)
  }

  /// Resets the device through sysfs (kind 0) or through Sluice's descriptor (kind 1), or clears and sets the
  /// device's memory bit through that descriptor.
  private func suffer(kind: Int, device: Int, _ sluice: Int32) throws {
    let one = Self.devices[device]
    if kind == 0 { return try HostDevice.write("1", to: "/sys/bus/pci/devices/\(one.address)/reset") }
    let foreign = try ForeignDevice(of: sluice, identity: one.identity)
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
