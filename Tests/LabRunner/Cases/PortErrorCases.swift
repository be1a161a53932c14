// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases about the time between an error of a device behind a port and the reset of its slot.
enum PortErrorCases {
  static let all: [Case] = [
    Case(
      "port-contained", "small guest: after a fatal error, no access reaches the device; reads are all-ones",
      limit: 90
    ) { context in try contained(context) },
    Case(
      "port-no-handler", "errors of a USB controller, whose driver has no handler: a drive still works",
      limit: 300
    ) { context in try noHandler(context) },
  ]

  /// Checks the trace of a guest that handles errors: each error is contained, and the guest then resets the slot. Nothing
  /// is forwarded to the device before that.
  static func checkContainment(_ context: CaseContext, errors: Int) throws {
    var scan = TraceScan()
    try scan.read(context.file("trace.jsonl"))
    try context.require(scan.faults.isEmpty, scan.faults.prefix(3).joined(separator: "; "))
    let contained = scan.lives["contained"] ?? 0
    try context.require(contained == errors, "the slot was contained \(contained) times, expected \(errors)")
    try context.require(
      scan.containedResets == errors,
      "\(scan.containedResets) resets of a contained slot, expected \(errors)")
  }

  /// Injects a fatal error into a device that the guest reads continuously, and that it does not reset. The counters of the
  /// function show each access that reaches the device.
  private static func contained(_ context: CaseContext) throws -> String {
    var guest = BareMetalGuest("watch", [Address.plug + ",port", Address.edu])
    let path = context.file("control").path
    guest.options = ["--control", path]
    let watch = try WatchGuest(context, guest)
    let client = [context.manifest.sluice, "ctl", path]
    // Windows of the other device open here. The trapped accesses of both devices are then rare.
    try watch.requireAlive()
    try Command.output(client + ["inject", Address.plug, "--severity", "fatal"])
    try watch.requireRemoved()
    let before = try accesses(client)
    try watch.child.type("M")
    try watch.requireRemoved()
    let after = try accesses(client)
    try context.require(
      after.served == before.served, "\(after.served - before.served) accesses reached the device")
    try context.require(after.trapped > before.trapped, "the guest made no access to the device")
    _ = try watch.finish()
    var scan = TraceScan()
    try scan.read(context.file("guest.jsonl"))
    try context.require(scan.faults.isEmpty, scan.faults.prefix(3).joined(separator: "; "))
    try context.require(scan.lives["contained"] == 1, "the slot was not contained once: \(scan.summary)")
    return "\(after.trapped - before.trapped) accesses denied"
  }

  /// Returns the numbers of trapped accesses to the first device, and of those that reached it.
  private static func accesses(_ client: [String]) throws -> (trapped: Int, served: Int) {
    let text = try Command.output(client + ["status", "--json"])
    func number(_ name: String) throws -> Int {
      guard let match = text.firstMatch(of: try Regex("\"device0\\.\(name)\":([0-9]+)")),
        let digits = match.output[1].substring, let value = Int(digits)
      else { throw Failed("the status has no 'device0.\(name)': \(text)") }
      return value
    }
    let trapped = try number("trapped")
    return (trapped, trapped - (try number("denied")))
  }

  /// Injects a non-fatal and a fatal error into a USB controller. Linux decides if the guest keeps the controller.
  private static func noHandler(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let path = context.file("control").path
    let guest = LinuxGuest(
      kernel: .newFull, devices: [Address.usb, Address.bigDrive].map { $0 + ",port" },
      steps: ["usb-sha256", "failures", "leave-usb"], options: ["--control", path])
    let child = try context.start(guest.command(context), as: "guest")
    let client = [context.manifest.sluice, "ctl", path]
    for severity in ["non-fatal", "fatal"] {
      try child.expect("lab: failure \(severity)\r\n")
      try Command.output(client + ["inject", Address.usb, "--severity", severity])
    }
    try child.expect("lab: leave-usb\r\n")
    try Command.output(client + ["remove", Address.usb])
    try HostDevice(Address.usb).requireReleased()
    try Command.output(client + ["add", Address.usb])
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    let drive = context.manifest.drives[Address.bigDrive]
    let expected = [[String]](repeating: [drive?.serial ?? "", drive?.sha256 ?? ""], count: 2)
    let reads = lines.values(of: "nvme-sha256")
    try context.require(reads == expected, "the drive read \(reads), expected \(expected)")
    let sums = lines.values(of: "usb-sha256").compactMap(\.first)
    let sum = context.manifest.sums[Address.usb] ?? ""
    try context.require(sums == [sum, sum], "the stick read \(sums), expected \(sum) twice")
    var scan = TraceScan()
    try scan.read(context.file("trace.jsonl"))
    try context.require(scan.faults.isEmpty, scan.faults.prefix(3).joined(separator: "; "))
    return lines.values(of: "failure").map { $0.joined(separator: ": ") }.joined(separator: ", ")
  }
}
