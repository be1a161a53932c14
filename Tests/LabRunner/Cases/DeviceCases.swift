// SPDX-License-Identifier: Apache-2.0

/// Linux guests with further kinds of devices and of interrupts.
enum DeviceCases {
  static let all: [Case] = [
    Case("other-devices", "SATA, USB with MSI, an SR-IOV VF and an expansion ROM in one guest", limit: 120) {
      context in try others(context)
    },
    Case("linux-intx", "NVMe, e1000e, xHCI and AHCI use INTx concurrently, under pci=nomsi", limit: 150) {
      context in
      let devices = [Address.smallDrive, Address.network, Address.usb, Address.disk]
      let guest = LinuxGuest(
        kernel: .newFull, devices: devices,
        steps: ["nvme-sha256", "network", "disks-2", "interrupts", "functions"], append: "pci=nomsi")
      let lines = try guest.run(context)
      try LinuxCases.checkNetwork(lines, context)
      try checkDisks(lines, devices, context)
      try checkInterrupts(lines, kind: "IO-APIC", of: ["nvme", "eth0", "xhci", "ahci"], context)
      try checkCapabilities(lines, devices, context)
      return try LinuxCases.describe(lines, context)
    },
    Case(
      "conventional", "lsi53c895a runs its program from its own BAR; its BAR 1 is smaller than a page",
      limit: 120
    ) { context in
      var guest = LinuxGuest(kernel: .newFull, devices: [Address.scsi], steps: ["disks-1"])
      // The device reaches its BAR through the IOMMU. 'auto' therefore takes an interface that maps BARs.
      guest.options = ["--iommu", "auto"]
      let lines = try guest.run(context)
      try checkDisks(lines, [Address.scsi], context)
      guard context.vmm == "sluice" else { return "under \(context.vmm)" }
      let trace = try Trace(file: context.file("trace.jsonl"))
      let opened = Set(trace.openedWindows.map(\.bar))
      try context.require(
        opened == [1, 2], "windows of BARs \(opened.sorted()) were opened, expected 1 and 2")
      return "the disk was read; windows of BARs 1 and 2 were opened"
    },
    Case("pair", "Sluice resets two functions of one slot by hot reset, their only method") { context in
      try pair(context)
    },
    Case(
      "no-kvmclock", "a guest without kvmclock calibrates its timers; 'reboot=k' resets through port 0x64",
      limit: 120
    ) {
      context in
      var guest = LinuxGuest(
        devices: [Address.smallDrive], steps: ["nvme-sha256", "reboot"], append: "no-kvmclock reboot=k")
      guest.status = 3
      return try LinuxCases.describe(try guest.run(context), context)
    },
    Case("no-reset", "a device without a reset method works, with one warning") { context in
      let watch = try WatchGuest(context, [Address.edu])
      let trace = try watch.finish()
      // Under iommufd, another warning says that peer DMA is off.
      let warnings = watch.child.errors.split(separator: "\n").filter {
        $0.contains("warning") && !$0.contains("peer DMA is off")
      }
      try context.require(
        warnings.count == 1 && warnings[0].contains(Address.edu) && warnings[0].contains("no reset"),
        "the log has \(warnings.count) warnings: \(warnings.joined(separator: "; "))")
      let resets = trace.records.count { $0.event == "reset" }
      try context.require(resets == 0, "the trace has \(resets) resets")
      return warnings.joined()
    },
  ]

  private static func others(_ context: CaseContext) throws -> String {
    let devices = [Address.disk, Address.messageUSB, Address.virtualFunction, Address.network]
    let guest = LinuxGuest(
      kernel: .newFull, devices: devices,
      steps: ["disks-2", "nvme-sha256", "nvme-reset", "nvme-sha256", "interrupts", "functions", "rom"])
    let lines = try guest.run(context)
    try checkDisks(lines, devices, context)
    let resets = lines.values(of: "nvme-reset").count
    try context.require(resets == 1, "the guest reset the virtual function \(resets) times, expected 1")
    try checkInterrupts(lines, kind: "PCI-MSI", of: ["ahci", "xhci", "nvme"], context)
    try checkCapabilities(lines, devices, context)
    let rom = try HostDevice(Address.network).rom()
    let seen = lines.values(of: "rom")
    try context.require(seen == [rom], "the guest read the ROM \(seen), the host \(rom)")
    return "\(try LinuxCases.describe(lines, context)); ROM of \(rom[0]) bytes"
  }

  /// Checks that the guest read each disk behind a SATA, USB or SCSI controller as the lab wrote it. The
  /// guest's PCI slots follow the order of `devices`, starting with slot 1.
  static func checkDisks(_ lines: GuestLines, _ devices: [String], _ context: CaseContext) throws {
    let seen = lines.values(of: "disk").sorted { $0.first ?? "" < $1.first ?? "" }
    let expected = devices.enumerated().compactMap { index, address in
      [Address.disk, Address.usb, Address.messageUSB, Address.scsi].contains(address)
        ? ["0000:00:0\(index + 1).0", context.manifest.sums[address] ?? "nothing"] : nil
    }
    try context.require(seen == expected, "the guest read \(seen), the disks have \(expected)")
  }

  /// Checks that each driver had interrupts, and that all interrupts are of the given kind.
  static func checkInterrupts(
    _ lines: GuestLines, kind: String, of drivers: [String], _ context: CaseContext
  ) throws {
    let seen = lines.values(of: "interrupts")
    for driver in drivers {
      try context.require(
        seen.contains { $0.count == 2 && $0[1].hasPrefix(driver) }, "no interrupt for \(driver) in \(seen)")
    }
    for one in seen {
      try context.require(one[0].hasPrefix(kind), "the interrupt \(one) is not of the kind \(kind)")
    }
  }

  /// Checks that the guest finds the devices in the given order. Each device shows a subset of the host's
  /// capabilities in the host's order. The subset includes the host's power management, MSI, PCI Express and
  /// MSI-X capabilities.
  static func checkCapabilities(_ lines: GuestLines, _ devices: [String], _ context: CaseContext)
    throws
  {
    let functions = lines.values(of: "functions")
    try context.require(functions.count == devices.count, "the guest found the functions \(functions)")
    for (function, address) in zip(functions, devices) {
      let seen = function.dropFirst(3).compactMap { UInt8($0, radix: 16) }
      let host = try HostDevice(address).capabilities()
      let needed = host.filter { [0x01, 0x05, 0x10, 0x11].contains($0) }
      try context.require(
        host.filter(seen.contains) == seen && needed.allSatisfy(seen.contains),
        "\(address) has the capabilities \(host), the guest sees \(seen)")
    }
  }

  private static func pair(_ context: CaseContext) throws -> String {
    let lines = try LinuxGuest(devices: Address.pair, steps: ["functions"]).run(context)
    let functions = lines.values(of: "functions").map { Array($0.prefix(3)) }
    try context.require(
      functions == [["0000:00:01.0", "0x1234", "0x11e8"], ["0000:00:01.1", "0x1af4", "0x1110"]],
      "the guest found the functions \(functions)")
    guard context.vmm == "sluice" else { return "under \(context.vmm)" }
    let trace = try Trace(file: context.file("trace.jsonl"))
    let resets = trace.records.filter { $0.event == "reset" }
    for why in ["start", "hand-back"] {
      try context.require(
        resets.contains { $0.why == why && $0.method == "bus" },
        "the trace has no bus reset with the reason '\(why)'")
    }
    let methods = resets.map { $0.method ?? "none" }
    try context.require(
      methods.allSatisfy { $0 == "bus" },
      "the trace has resets by the methods \(methods), expected only 'bus'")
    let warnings = trace.records.count { $0.event == "warning" }
    try context.require(warnings == 0, "\(warnings) warnings")
    return "\(resets.count) bus resets"
  }
}
