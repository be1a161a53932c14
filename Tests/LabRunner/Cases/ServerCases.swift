// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases with devices in other processes, the test servers of `Tests/VFIOUserEdu` and `Tests/VFIOUserNVMe`.
enum ServerCases {
  static let all: [Case] = [
    Case(
      "vfio-user", "an ordinary user's Linux guest keeps the data of a drive whose process is killed twice",
      limit: 300
    ) { context in try drive(context) },
    Case(
      "vfio-user-fio",
      "an ordinary user's Linux guest writes blocks to a drive of another process and verifies them for a minute, with two methods of DMA",
      limit: 600, isLong: true
    ) { context in try fio(context) },
    Case("vfio-user-mixed", "small guests: a device of L1 and a device of another process in one VM") {
      context in
      try mixed(context)
    },
    Case("vfio-user-demo", "the demo of a machine with KVM and without an IOMMU", limit: 120) { context in
      guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
      let demo = DirectDemo(
        Workspace(tree: URL(filePath: context.manifest.tree, directoryHint: .isDirectory)))
      try context.require(try demo.run(), "the guest did not read the drive; see \(demo.directory.path)")
      return "the guest has read the drive"
    },
    Case("vfio-user-intx", "small guest: INTx of a device in another process") { context in
      guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
      let (_, edu) = try server("VFIOUserEdu", context)
      return try BareMetalGuest("intx", ["vfio-user:\(edu)"]).check(context)
    },
  ]

  private static let user = "nobody"

  /// Starts a server as an ordinary user. Returns its process and its socket.
  static func server(
    _ name: String, _ context: CaseContext, _ options: [String] = [], as label: String = "server"
  ) throws -> (Child, String) {
    let program = "\(context.manifest.tree)/.build/release/\(name)"
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw Skipped("\(program): not built")
    }
    // The user creates the socket.
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: context.directory.path)
    let socket = context.file("\(name).socket").path
    let child = try context.start(
      ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups", program, "--socket", socket]
        + options, as: label)
    let limit = ContinuousClock.now + .seconds(20)
    while !Self.listens(socket) {
      guard child.isRunning, ContinuousClock.now < limit else {
        throw Failed("\(name) does not listen; \(child.lastMessage)")
      }
      usleep(20_000)
    }
    return (child, socket)
  }

  /// True if a process listens on a socket (/proc/net/unix: state 01, flags 00010000).
  private static func listens(_ socket: String) -> Bool {
    // The file exists as long as /proc is mounted.
    let text = (try? String(contentsOfFile: "/proc/net/unix", encoding: .utf8)) ?? ""
    return text.split(separator: "\n").contains { line in
      let words = line.split(separator: " ")
      return words.last.map(String.init) == socket && words.count > 3 && words[3] == "00010000"
    }
  }

  private static func drive(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let image = context.file("image")
    try Command.output(["sh", "-c", "head -c 33554432 /dev/urandom >\(image.path); chmod 666 \(image.path)"])
    let options = ["--image", image.path]
    var (process, socket) = try server("VFIOUserNVMe", context, options)
    let device = "vfio-user:\(socket)"
    let guest = LinuxGuest(
      kernel: .newFull, devices: ["\(device),port,reconnect=1"], steps: ["nvme-load", "arrivals-3"],
      append: "lab.resets=3")
    let child = try context.start(
      [context.manifest.sluice, "open", "--user", user, device, "--"] + guest.command(context), as: "guest")
    for number in 1...3 {
      try child.expect("lab: used \(number)\r\n")
      process.kill()
      guard number < 3 else { break }
      try child.expect("lab: arrival \(number + 1)\r\n")
      (process, socket) = try server("VFIOUserNVMe", context, options, as: "server-\(number)")
    }
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    let sum = String(try Command.output(["sha256sum", image.path]).prefix(64))
    let sums = lines.values(of: "nvme-sha256").compactMap(\.last)
    try context.require(sums == [sum, sum, sum], "the guest read \(sums), the image has \(sum)")
    let losses = child.errors.split(separator: "\n").count { $0.contains("\(device): lost by the guest: ") }
    try context.require(losses == 3, "\(losses) warnings about a lost device, expected 3")
    let load = lines.values(of: "nvme-load").first ?? []
    return "resets, reads and writes: \(load.prefix(3).joined(separator: ", ")); three processes, one content"
  }

  /// With `--messages --synchronous`, the server reads and writes guest RAM by messages before it replies to the writes of
  /// four vCPUs.
  private static func fio(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let image = context.file("image").path
    try Command.output(["sh", "-c", "truncate -s 64M \(image); chmod 666 \(image)"])
    let runs = [(1, ["--mapped-doorbells"]), (4, ["--messages", "--synchronous"])]
    return try runs.map { cpus, options in
      let (process, socket) = try server(
        "VFIOUserNVMe", context, ["--image", image] + options, as: "server-\(cpus)")
      defer { process.kill() }
      let device = "vfio-user:\(socket)"
      let guest = LinuxGuest(devices: [device], cpus: cpus, steps: ["fio-verify-60"])
      let child = try context.start(
        [context.manifest.sluice, "open", "--user", user, device, "--"] + guest.command(context),
        as: "guest-\(cpus)")
      let status = try child.wait()
      let lines = GuestLines(child.output)
      let words = lines.values(of: "fio-verify").first ?? []
      try context.require(
        status == 0 && lines.ended && words.count == 2,
        "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
      return "\(cpus) vCPUs: \(words[0]) KiB read, \(words[1]) KiB written"
    }.joined(separator: "; ")
  }

  private static func mixed(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let image = context.file("image").path
    try Command.output(["sh", "-c", "truncate -s 8M \(image); chmod 666 \(image)"])
    let (_, drive) = try server("VFIOUserNVMe", context, ["--image", image, "--mapped-doorbells"])
    let devices = [Address.edu, "vfio-user:\(drive)"]
    let remarks = try ["edu-dma", "msix", "bar-lazy-open", "memory-enable", "config"].map { name in
      let append = name == "memory-enable" ? "toggles=50" : ""
      return try BareMetalGuest(name, devices, append: append, cpus: 2).check(context, as: name)
    }
    return remarks.joined(separator: "; ")
  }
}
