// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases that remove a drive from its port while the guest uses the drive.
enum PortRemovalCases {
  static let all: [Case] = [
    Case(
      "port-ext4", "a drive with a mounted ext4 leaves its port on request: the file system is clean",
      limit: 240
    ) { context in
      let times = [try ext4(context, isUnmounted: true), try ext4(context, isUnmounted: false)]
        .map { $0.formatted(.number.precision(.fractionLength(1))) }
      return "released after \(times[0]) s, and after \(times[1]) s while it was mounted"
    },
    Case(
      "port-surprise-dd",
      "a drive vanishes from the host while the guest writes: the guest notices within 2 s, and uses another drive",
      limit: 200
    ) { context in
      try surprise(context)
    },
    Case("port-intx-remove", "a drive leaves its port on request, while both use INTx", limit: 120) {
      context in
      try intx(context)
    },
  ]

  private static let device = HostDevice(Address.hotDrive)
  private static let drive = HostDrive(device: device, serial: MachineDevices.hotSerial)

  /// The host requests the drive while the guest writes files to the drive. An agent in the guest learns of the request
  /// before the press of the button.
  ///
  /// - Parameters:
  ///   - context: The environment of the case.
  ///   - isUnmounted: True if the agent unmounts the file system. Otherwise the agent only ends the writes.
  /// - Returns: The time in seconds until the host has the drive, which is less than 10.
  private static func ext4(_ context: CaseContext, isUnmounted: Bool) throws -> Double {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let word = isUnmounted ? "unmount" : "keep"
    _ = try drive.use { node in
      try Command.output(["mkfs.ext4", "-q", "-F", node])
    }
    let path = context.file("control-\(word)").path
    let guest = LinuxGuest(
      devices: [device.address + ",port"], steps: ["ext4-\(word)"], options: ["--control", path])
    let child = try context.start(guest.command(context), as: word)
    try child.expect("lab: ext4 mounted")
    usleep(2_000_000)
    let start = ContinuousClock.now
    try child.type("leave\n")
    try child.expect("lab: ext4 idle")
    try Command.output([context.manifest.sluice, "ctl", path, "remove", device.address])
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty && lines.values(of: "ext4-\(word)").count == 1,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    // After ten seconds, the drive leaves by surprise.
    try context.require(seconds < 10, "the host had the drive only after \(seconds) s")
    let writes = lines.values(of: "ext4-write").first?.first.flatMap { Int($0) } ?? 0
    try context.require(writes > 0, "the guest wrote no file")
    try device.requireReleased()
    try drive.use { try check($0, isUnmounted: isUnmounted, files: min(16, writes), context) }
    return seconds
  }

  /// Checks the file system without a repair, and the sum of each file.
  private static func check(_ node: String, isUnmounted: Bool, files: Int, _ context: CaseContext) throws {
    // A file system that was mounted has its last changes in the journal. This reads nothing but the journal.
    if !isUnmounted { try Command.output(["e2fsck", "-y", "-E", "journal_only", node]) }
    let check = try Command.result(["e2fsck", "-fn", node])
    try context.require(check.status == 0, "e2fsck: status \(check.status): \(check.output)\(check.errors)")
    let directory = context.file("mnt").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Command.output(["modprobe", "--dirname", context.manifest.modules, "ext4"])
    try Command.output(["mount", "-t", "ext4", "-o", "ro", node, directory])
    let sums = Result {
      try Command.output([
        "sh", "-c", "cd '\(directory)' && sha256sum --check --quiet *.sum && ls *.sum | wc -l",
      ])
    }
    try Command.output(["umount", directory])
    let count = try sums.get().trimmingCharacters(in: .whitespacesAndNewlines)
    try context.require(count == "\(files)", "\(count) files are right, expected \(files)")
  }

  /// The host requests the drive of a guest whose ports interrupt by INTA.
  private static func intx(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let path = context.file("control").path
    let guest = LinuxGuest(
      devices: [Address.bigDrive + ",port"], steps: ["nvme-sha256", "leave", "interrupts"],
      options: ["--control", path], append: "pci=nomsi pcie_ports=native")
    let child = try context.start(guest.command(context), as: "guest")
    try child.expect("lab: leave")
    let start = ContinuousClock.now
    try Command.output([context.manifest.sluice, "ctl", path, "remove", Address.bigDrive])
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    // After ten seconds, the drive leaves by surprise.
    try context.require(seconds < 10, "the host had the drive only after \(seconds) s")
    try HostDevice(Address.bigDrive).requireReleased()
    return "released after \(seconds.formatted(.number.precision(.fractionLength(1)))) s"
  }

  /// L1's port switches the drive off while the guest writes to it.
  private static func surprise(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let guest = LinuxGuest(
      devices: [device.address + ",port"], steps: ["surprise", "arrivals-1"],
      options: ["--control", context.file("control").path])
    let child = try context.start(guest.command(context), as: "guest")
    try child.expect("lab: surprise")
    // Slot Control (PCIe 6.0 §7.5.3.10). The first write switches the power and its indicator off, and QEMU removes the
    // device at once. L1's pciehp would take an event of a slot without power for its own, so the first write also turns
    // the slot's interrupt off. The second write turns power and interrupt on, and pciehp finds the card missing.
    try Command.output([
      "setpci", "-s", Address.hotPort, "CAP_EXP+18.w=0700:0720", "CAP_EXP+18.w=0120:0720",
    ])
    let result = Result { try checkSurprise(child, context) }
    try restore()
    return try result.get()
  }

  private static func checkSurprise(_ child: Child, _ context: CaseContext) throws -> String {
    let client = [context.manifest.sluice, "ctl", context.file("control").path]
    try child.expect("lab: arrival 1\r\n")
    try Command.output(client + ["add", Address.smallDrive])
    try child.expect("lab: used 1\r\n")
    try Command.output(client + ["remove", Address.smallDrive])
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty && lines.values(of: "surprise").count == 1,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    let (other, reads) = (context.manifest.drives[Address.smallDrive], lines.values(of: "nvme-sha256"))
    try context.require(
      reads == [[other?.serial ?? "", other?.sha256 ?? ""]], "the guest read \(reads) from the other drive")
    let notice = lines.values(of: "notice").first?.first.flatMap { Int($0) } ?? .max
    try context.require(notice <= 200, "the guest noticed the removal after \(notice) hundredths of a second")
    let trace = try Trace(file: context.file("trace.jsonl"))
    let faults = trace.violationsOfRemoval(of: device.address) + trace.violationsOfClosing()
    try context.require(faults.isEmpty, faults.joined(separator: "; "))
    return "the guest noticed after \(notice * 10) ms"
  }

  /// Plugs the drive in again.
  private static func restore() throws {
    let path = "/sys/bus/pci/devices/\(device.address)"
    try wait("the drive is still present") { !FileManager.default.fileExists(atPath: path) }
    try Monitor.plug(MachineDevices.hotDrive, at: device.address)
    try device.bind(to: "vfio-pci")
  }

  private static func wait(_ complaint: String, until condition: () -> Bool) throws {
    let end = ContinuousClock.now + .seconds(30)
    while !condition() {
      guard ContinuousClock.now < end else { throw Failed("\(complaint) after 30 s") }
      usleep(20_000)
    }
  }
}
