// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases in which devices are added to ports while the guest runs.
enum HotplugCases {
  static let all: [Case] = [
    Case(
      "port-add", "a drive, a network and a USB controller are added, used and removed three times",
      limit: 400
    ) {
      context in
      try cycles(context, count: 3)
    },
    Case(
      "port-add-50", "a drive, a network and a USB controller are added, used and removed 50 times",
      limit: 3600,
      isLong: true
    ) { context in try cycles(context, count: 50) },
    Case(
      "port-replace",
      "a drive is replaced by another one, and that by itself; refused devices change nothing", limit: 240
    ) { context in try replace(context) },
    Case("port-bar", "a device with a BAR of 16 GiB is added to an empty port", limit: 180) { context in
      try largeBAR(context)
    },
  ]

  private static let user = "nobody"
  private static let devices = [Address.smallDrive, Address.network, Address.usb]

  /// Runs `sluice ctl`. Returns its output and its messages.
  @discardableResult
  private static func ctl(
    _ context: CaseContext, _ arguments: [String], status: Int32 = 0, says text: String = ""
  ) throws -> String {
    let path = context.file("control").path
    let result = try Command.result([context.manifest.sluice, "ctl", path] + arguments)
    try context.require(
      result.status == status && (text.isEmpty || (result.output + result.errors).contains(text)),
      "ctl \(arguments): status \(result.status): \(result.output)\(result.errors)")
    return result.output
  }

  /// Waits for the end of a guest. Returns its lines.
  private static func finish(_ child: Child, _ context: CaseContext) throws -> GuestLines {
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    return lines
  }

  /// Replaces the drive in the only port. The VM has no device at the start.
  private static func replace(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let guest = LinuxGuest(
      devices: [], steps: ["arrivals-3"],
      options: ["--control", context.file("control").path, "--ports", "1"])
    let child = try context.start(guest.command(context), as: "guest")
    let (one, two) = (Address.bigDrive, Address.smallDrive)
    try child.expect("lab: arrival 1\r\n")
    try ctl(context, ["status"], says: "port 1  empty")
    try ctl(context, ["add", Address.bridge], status: 1, says: "device \(Address.bridge): ")
    try ctl(context, ["add", one], says: "added to port 1")
    try ctl(context, ["status"], says: "port 1  \(one)")
    try child.expect("lab: used 1\r\n")
    try ctl(context, ["add", two], status: 1, says: "device \(two): add: the VM has no empty port; ")
    try ctl(
      context, ["replace", two, one], status: 1, says: "device \(two): replace: the VM has no such device; ")
    try ctl(context, ["replace", one, two], says: "its replacement is in port 1")
    try HostDevice(one).requireReleased()
    try child.expect("lab: used 2\r\n")
    try ctl(context, ["replace", two], says: "its replacement is in port 1")
    try child.expect("lab: used 3\r\n")
    try ctl(context, ["remove", two])
    try HostDevice(two).requireReleased()
    let lines = try finish(child, context)
    let serials = lines.values(of: "nvme-sha256").compactMap(\.first)
    let expected = [one, two, two].map { context.manifest.drives[$0]?.serial ?? "" }
    try context.require(serials == expected, "the guest read \(serials), expected \(expected)")
    return serials.joined(separator: ", ")
  }

  /// Adds a device with a large BAR, whose last page the guest writes and reads.
  private static func largeBAR(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let guest = LinuxGuest(
      devices: [], steps: ["large-bar"],
      options: ["--control", context.file("control").path, "--ports", "1"])
    let child = try context.start(guest.command(context), as: "guest")
    try child.expect("lab: large-bar\r\n")
    let device = HostDevice(Address.largeMemory)
    try ctl(context, ["--bind", "add", device.address])
    let lines = try finish(child, context)
    try device.requireReleased()
    let bars = lines.values(of: "large-bar")
    try context.require(
      bars == [["0x400000000", "0x5A5A1234"]], "the guest found \(bars), expected a BAR of 0x400000000 bytes")
    return bars[0].joined(separator: " ")
  }

  /// Adds and removes devices of an ordinary user's VM. Another device stays behind a port.
  private static func cycles(_ context: CaseContext, count: Int) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    // The VM's user creates the trace and the socket.
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: context.directory.path)
    let path = context.file("control").path
    let guest = LinuxGuest(
      kernel: .newFull, devices: [Address.edu + ",port"], steps: ["cycles-\(count)"],
      options: ["--control", path, "--ports", "\(devices.count)"])
    let child = try context.start(
      [context.manifest.sluice, "open", "--user", user] + context.manifest.iommuOption + [Address.edu, "--"]
        + guest.command(context), as: "guest")
    var resources: [ProcessResources] = []
    for number in 1...count {
      try child.expect("lab: cycle \(number)\r\n")
      resources.append(try ProcessResources(of: child.sluice()))
      for device in devices { try ctl(context, ["add", device]) }
      try child.expect("lab: used \(number)\r\n")
      // The guest takes five seconds for each removal.
      let removals = try devices.map { device in
        try context.start([context.manifest.sluice, "ctl", path, "remove", device], as: "remove-\(device)")
      }
      for removal in removals {
        try context.require(try removal.wait() == 0, "remove: \(removal.lastMessage)")
      }
      for device in devices { try HostDevice(device).requireReleased() }
    }
    let lines = try finish(child, context)
    let (manifest, drive) = (context.manifest, context.manifest.drives[Address.smallDrive])
    for (step, values) in [
      ("nvme-sha256", [drive?.serial ?? "", drive?.sha256 ?? ""]), ("download", [manifest.downloadSHA256]),
      ("usb-sha256", [manifest.sums[Address.usb] ?? ""]),
    ] {
      let sums = lines.values(of: step)
      try context.require(
        sums == [[String]](repeating: values, count: count),
        "\(step): \(sums), expected \(count) times \(values)")
    }
    // The first cycle has loaded code and grown the heap.
    if let first = resources.dropFirst().first, let last = resources.last {
      let changes = first.differences(from: last)
      try context.require(changes.isEmpty, "the resources change: \(changes.joined(separator: "; "))")
    }
    // The trace has each window that was opened or mapped for DMA.
    var scan = TraceScan()
    try scan.read(context.file("trace.jsonl"))
    try context.require(
      scan.faults.isEmpty && scan.remaining == 0,
      "\(scan.remaining) windows remain; \(scan.faults.prefix(3).joined(separator: "; "))")
    return "\(count) cycles; \(resources.last?.description ?? "")"
  }
}
