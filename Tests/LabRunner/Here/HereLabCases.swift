// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases that show `here` in L1, which takes the role of a machine with an IOMMU and KVM.
enum HereLabCases {
  static let all: [Case] = [
    Case(
      "here", "'Tests/lab here' runs its cases on an NVMe drive, and nvme has the drive afterwards",
      limit: 300
    ) {
      context in
      let drive = HostDevice(Address.bigDrive)
      try drive.bind(to: "nvme")
      defer { try? drive.bind(to: "vfio-pci") }  // the next case with the drive reports a failure
      let child = try start(context, ["--device", drive.address, "--yes"], as: "drive")
      let status = try child.wait()
      let counts = child.lastLine
      try context.require(
        status == 0 && counts == "\(HereCases.all.count) passed, 0 failed, 0 skipped",
        "status \(status): \(failures(child)); \(counts); \(child.lastMessage)")
      try requireDriver("nvme", of: drive, child, context)
      try context.require(
        child.output.contains("the first MiB is equal"), "the guest's read was not compared with the host's")
      return counts
    },
    Case(
      "here-any-device", "'Tests/lab here' runs its cases on edu, which has no driver afterwards", limit: 180,
      isLong: true
    ) {
      context in
      let edu = HostDevice(Address.edu)
      try HostDevice.write(edu.address, to: "/sys/bus/pci/drivers/vfio-pci/unbind")
      defer { try? edu.bind(to: "vfio-pci") }  // the next case with the device reports a failure
      let names = HereCases.all.map(\.name).filter { $0 != "here-linux" }
      let child = try start(context, ["--device", edu.address, "--yes"] + names, as: "edu")
      let status = try child.wait()
      // edu has no host driver, no FLR and no power management.
      let expected = ["here-bind", "here-reset"]
      let skipped = names.filter { child.output.contains("\nskip   \($0)  ") }
      try context.require(
        status == 0
          && child.lastLine == "\(names.count - expected.count) passed, 0 failed, \(expected.count) skipped",
        "status \(status): \(failures(child)); \(child.lastLine); \(child.lastMessage)")
      try context.require(skipped == expected, "skipped \(skipped), expected \(expected)")
      try requireDriver(nil, of: edu, child, context)
      return child.lastLine
    },
    Case(
      "here-signal", "a signal ends 'Tests/lab here', and nvme has the drive afterwards", limit: 120,
      isLong: true
    ) {
      context in
      let drive = HostDevice(Address.bigDrive)
      try drive.bind(to: "nvme")
      defer { try? drive.bind(to: "vfio-pci") }  // the next case with the drive reports a failure
      let child = try start(
        context, ["--device", drive.address, "--yes", "here-linux", "here-config"], as: "drive")
      try child.expect("start  here-linux", within: 60)
      // The guest's console has output after Sluice has the device.
      let console = URL(filePath: "/run/lab/here-linux/guest.log")
      let limit = ContinuousClock.now + .seconds(30)
      while try !console.exists || Data(contentsOf: console).isEmpty, ContinuousClock.now < limit {
        usleep(50_000)
      }
      _ = kill(child.id, SIGTERM)
      let status = try child.wait(within: 60)
      try context.require(
        status == 1 && child.lastMessage.contains("ended by signal 15"),
        "status \(status): \(child.lastMessage)")
      try context.require(!child.output.contains("start  here-config"), "a case started after the signal")
      try requireDriver("nvme", of: drive, child, context)
      return child.lastMessage
    },
    Case(
      "here-refused", "'Tests/lab here' refuses a device that the host uses, and changes nothing", limit: 90
    ) {
      context in try refused(context)
    },
  ]

  /// Starts the runner in the checkout, as `Tests/lab here` does.
  private static func start(_ context: CaseContext, _ arguments: [String], as label: String) throws -> Child {
    let tree = URL(filePath: context.manifest.tree, directoryHint: .isDirectory)
    return try context.start(
      ["env", "-C", tree.path, Workspace(tree: tree).runner.path, "here"] + arguments, as: label)
  }

  private static func failures(_ child: Child) -> String {
    child.output.split(separator: "\n").filter { $0.hasPrefix("FAIL") }.joined(separator: "; ")
  }

  private static func requireDriver(
    _ driver: String?, of device: HostDevice, _ child: Child, _ context: CaseContext
  ) throws {
    try context.require(
      device.driver == driver, "the driver is \(device.driver ?? "none"), expected \(driver ?? "none")")
    let line = "lab: \(device.address): bound to \(driver ?? "no driver"), as before the run"
    try context.require(child.output.contains(line), "the output has no '\(line)'")
  }

  private static func refused(_ context: CaseContext) throws -> String {
    let shared = try HostDevice.behind(bridge: Address.bridge)
    guard let edu = shared.first(where: { $0.deviceID == "0x11e8" }),
      let card = shared.first(where: { $0.driver == "e1000" }),
      let name = try HostUse().entries("net", of: card.address).first
    else { throw Failed("L1 does not have edu and e1000 behind its bridge") }
    try Command.output(["ip", "addr", "add", "192.0.2.1/24", "dev", name])
    try Command.output(["ip", "link", "set", name, "up"])
    // No other case uses the interface.
    defer { _ = try? Command.output(["ip", "addr", "flush", "dev", name]) }
    let held = HostDevice(Address.network)
    let other = try FileHandle(forUpdating: URL(filePath: "/dev/vfio/\(held.group ?? "none")"))
    defer { try? other.close() }  // nothing was written
    let inputs: [(label: String, arguments: [String], status: Int32, words: [String])] = [
      ("no-answer", ["--device", Address.network], 2, ["not a terminal", "--yes"]),
      ("absent", ["--device", "0000:00:1e.7", "--yes"], 1, ["0000:00:1e.7", "no PCI device there"]),
      (
        "held", ["--device", held.address, "--yes"], 1,
        [held.address, "/dev/vfio/", "another process uses it"]
      ),
      ("bridge", ["--device", Address.bridge, "--yes"], 1, [Address.bridge, "a bridge"]),
      (
        "interface", ["--device", card.address, "--yes"], 1, [card.address, name, "is up and has an address"]
      ),
      ("group", ["--device", edu.address, "--yes"], 1, [edu.address, "not viable", card.address]),
    ]
    for input in inputs {
      let child = try start(context, input.arguments, as: input.label)
      let status = try child.wait(within: 30)
      try context.require(
        status == input.status && input.words.allSatisfy(child.errors.contains),
        "\(input.label): status \(status), '\(child.errors)'")
    }
    try context.require(card.driver == "e1000", "the driver of \(card.address) is \(card.driver ?? "none")")
    return "\(inputs.count) refusals"
  }
}
