// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for `sluice open`.
enum OpenerCases {
  static let all: [Case] = [
    Case("opener", "an ordinary user's VM has an NVMe drive, no right and an empty root", limit: 240) {
      context in
      try opener(context)
    },
    Case("opener-spaces", "devices whose policies need two I/O address spaces get two containers") {
      context in
      try spaces(context)
    },
    Case("opener-failure", "sluice open leaves nothing bound or open if the command does not start") {
      context in
      try failure(context)
    },
  ]

  private static let user = "nobody"
  /// The ID of Debian's user and group `nobody`.
  private static let id = "65534"

  /// The calls by which a process opens a file, reaches another host or becomes another program.
  private static let opening: Set = [
    "open", "openat", "openat2", "creat", "socket", "connect", "execve", "execveat", "memfd_create", "dup",
    "dup2",
    "recvmsg",
  ]

  private static func opener(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    // The user writes the trace.
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: context.directory.path)
    context.isTracing = true
    let guest = LinuxGuest(devices: [Address.bigDrive], steps: ["nvme-sha256", "shell"])
    let child = try context.start(
      [context.manifest.sluice, "open", "--user", user] + context.manifest.iommuOption
        + [Address.bigDrive, "--"] + guest.command(context), as: "guest")
    try child.expect("lab: shell")
    let process = try child.sluice()
    let confined = ConfinedProcess(id: process)
    let threads = try confined.requireThreads(ofUser: id)
    try confined.requireOwnRoot()
    let limits = try ProcFile.text("/proc/\(process)/limits").split(separator: "\n")
    let locked = limits.first { $0.hasPrefix("Max locked memory") } ?? ""
    try context.require(locked.contains("unlimited"), "the limits have '\(locked)'")
    _ = kill(process, SIGTERM)
    let status = try child.wait(within: 60)
    try context.require(status == 143, "exit status \(status), expected 143; \(child.lastMessage)")
    let sums = GuestLines(child.output).values(of: "nvme-sha256").compactMap(\.last)
    let expected = context.manifest.drives[Address.bigDrive]?.sha256
    try context.require(sums.count == 1 && sums.first == expected, "the guest read \(sums)")
    let summary = child.errors.split(separator: "\n")
    for layer in ["namespaces", "capabilities", "no_new_privs", "landlock", "seccomp"] {
      let line = summary.first { $0.hasPrefix("  \(layer): ") } ?? "none"
      try context.require(!line.contains(": off: ") && line != "none", "the summary has '\(line)'")
    }
    try HostDevice(Address.bigDrive).requireReleased()
    let made = try SystemCalls(directory: context.directory, prefix: "strace")
    let calls = made.made.values.reduce(Set()) { $0.union($1) }
    try context.require(calls.contains("exit_group") && calls.contains("read"), "strace saw \(calls)")
    let forbidden = calls.intersection(opening)
    try context.require(forbidden.isEmpty, "after the start, Sluice called \(forbidden.sorted())")
    return "\(threads) threads; \(calls.count) kinds of calls after the start"
  }

  private static func spaces(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    // The user writes the trace.
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: context.directory.path)
    let target = Address.sharedMemory + ",peer-dma=off,peer-dma=on-fault@\(Address.edu)"
    var guest = BareMetalGuest("peer-dma", [Address.edu, target, Address.bigDrive])
    guest.options = ["--iommu", "type1"]
    guest.user = user
    return try guest.check(context)
  }

  private static func failure(_ context: CaseContext) throws -> String {
    let device = HostDevice(Address.smallDrive)
    try device.bind(to: "nvme")
    defer { try? device.bind(to: "vfio-pci") }  // the next case with the device reports a failure
    func expect(_ status: Int32, _ text: String, _ arguments: [String]) throws {
      let result = try Command.result([context.manifest.sluice, "open"] + arguments)
      let said = result.errors.trimmingCharacters(in: .newlines)
      try context.require(
        result.status == status && said.contains(text), "\(arguments): status \(result.status): \(said)")
      try context.require(device.driver == "nvme", "\(arguments): the driver is \(device.driver ?? "none")")
    }
    let address = device.address
    try expect(1, "device \(address): bound to nvme; ", [address, "--", "true"])
    try expect(
      2, "user nowhere: not in /etc/passwd; ", ["--bind", "--user", "nowhere", address, "--", "true"])
    for user in [[], ["--user", user]] {
      try expect(
        1, "command /nonexistent: execve: No such file or directory; ",
        ["--bind"] + user + [address, "--", "/nonexistent"])
    }
    try expect(1, "device 0000:1f:00.0: ", ["--bind", address, "0000:1f:00.0", "--", "true"])
    // The command starts, and the device stays bound.
    let script = "id -u; echo $LISTEN_FDNAMES $LISTEN_FDS; [ $LISTEN_PID = $$ ]; ls -l /proc/$$/fd/3"
    let started = try Command.result(
      [context.manifest.sluice, "open", "--bind", "--user", user, address, "--", "sh", "-c", script])
    try context.require(
      started.status == 0 && started.output.hasPrefix("\(id)\nkvm:") && started.output.contains("/dev/kvm"),
      "status \(started.status): \(started.output)\(started.errors)")
    try context.require(device.driver == "vfio-pci", "the driver is \(device.driver ?? "none")")
    try device.requireReleased()
    return started.output.split(separator: "\n").dropFirst().first.map(String.init) ?? ""
  }
}
