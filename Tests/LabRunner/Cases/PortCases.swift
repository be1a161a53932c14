// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases with devices behind root ports.
enum PortCases {
  static let all: [Case] = [
    Case("port", "an NVMe drive behind a port is read, reset with its slot, and switched off", limit: 180) {
      context in
      try port(context)
    },
    Case("port-eight", "eight devices behind eight ports work", limit: 240) { context in
      try eight(context)
    },
    Case("port-unbind", "the host unbinds a drive behind a port: the guest releases it", limit: 120) {
      context in
      try unbind(context, isObedient: true)
    },
    // `port-intx-remove` in `test` covers INTx of the drive and of the port.
    Case("port-intx", "devices behind ports use INTx, under pci=nomsi", limit: 150, isLong: true) { context in
      try forSluice(context)
      let devices = [Address.smallDrive, Address.network].map { $0 + ",port" }
      let guest = LinuxGuest(
        kernel: .newFull, devices: devices, steps: ["nvme-sha256", "network", "interrupts"],
        append: "pci=nomsi")
      let lines = try guest.run(context)
      try LinuxCases.checkNetwork(lines, context)
      try DeviceCases.checkInterrupts(lines, kind: "IO-APIC", of: ["nvme", "eth0"], context)
      return try LinuxCases.describe(lines, context)
    },
    Case("port-unbind-surprise", "a guest without a driver for its ports loses the device at the deadline") {
      context in
      try unbind(context, isObedient: false, append: "pcie_ports=compat")
    },
    Case(
      "port-inject", "injected errors of an NVMe drive, non-fatal and fatal: the driver recovers", limit: 240
    ) {
      context in
      try inject(context, times: 6)
    },
    Case(
      "port-inject-20", "20 injected errors of an NVMe drive: the driver recovers each time", limit: 240,
      isLong: true
    ) {
      context in
      try inject(context, times: 20)
    },
    Case("port-error", "errors of an e1000e behind a port (AER): the driver recovers each time", limit: 240) {
      context in
      try error(context, times: 3)
    },
    Case(
      "port-error-20", "20 errors of an e1000e behind a port (AER): the driver recovers each time",
      limit: 600,
      isLong: true
    ) { context in try error(context, times: 20) },
  ]

  /// Injects errors of an NVMe drive by the control socket. Between two errors, the guest reads the drive.
  private static func inject(_ context: CaseContext, times: Int) throws -> String {
    try forSluice(context)
    let path = context.file("control").path
    let device = Address.bigDrive
    let guest = LinuxGuest(
      devices: [device + ",port"], steps: ["nvme-sha256", "errors-\(times)", "nvme-sha256"],
      options: ["--control", path])
    let child = try context.start(guest.command(context), as: "guest")
    let severities = ["non-fatal", "fatal"]
    for number in 1...times {
      try child.expect("lab: error \(number)")
      try Command.output([
        context.manifest.sluice, "ctl", path, "inject", device, "--severity", severities[number % 2],
      ])
    }
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty && lines.values(of: "nvme-sha256").count == 2,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    try PortErrorCases.checkContainment(context, errors: times / 2)
    try HostDevice(device).requireReleased()
    return "\(times) errors, \(times / 2) resets of the slot"
  }

  private static func forSluice(_ context: CaseContext) throws {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
  }

  private static func eight(_ context: CaseContext) throws -> String {
    try forSluice(context)
    let devices = [
      Address.bigDrive, Address.smallDrive, Address.network, Address.usb, Address.messageUSB, Address.disk,
      Address.edu, Address.sharedMemory,
    ]
    let guest = LinuxGuest(
      kernel: .newFull, devices: devices.map { $0 + ",port" },
      steps: ["nvme-sha256", "network", "disks-3", "interrupts", "drivers"])
    let lines = try guest.run(context)
    try LinuxCases.checkNetwork(lines, context)
    try DeviceCases.checkDisks(lines, devices, context)
    try DeviceCases.checkInterrupts(lines, kind: "PCI-MSI", of: ["nvme", "eth0", "xhci", "ahci"], context)
    let ports = lines.values(of: "drivers").filter { $0.last == "pcieport" }.count
    try context.require(ports == devices.count, "\(ports) ports have a driver")
    return "\(ports) ports"
  }

  /// The host unbinds the drive while the guest uses it. An obedient guest removes the driver and switches the slot off.
  ///
  /// - Parameters:
  ///   - context: The environment of the case.
  ///   - isObedient: True if the guest drives its ports.
  ///   - append: Further words of the guest's command line.
  /// - Returns: The time until the host has the drive.
  private static func unbind(
    _ context: CaseContext, isObedient: Bool, append: String = ""
  ) throws -> String {
    try forSluice(context)
    let device = HostDevice(Address.bigDrive)
    let guest = LinuxGuest(
      devices: [device.address + ",port"], steps: ["nvme-sha256", isObedient ? "leave" : "wait-16"],
      append: append)
    let child = try context.start(guest.command(context), as: "guest")
    try child.expect(isObedient ? "lab: leave" : "lab: ok nvme-sha256")
    let start = ContinuousClock.now
    let host = try context.start(
      ["sh", "-c", "echo \(device.address) >/sys/bus/pci/drivers/vfio-pci/unbind"], as: "host")
    let status = try host.wait(within: isObedient ? 15 : 12)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    try context.require(status == 0 && device.driver == nil, "unbind: status \(status); \(host.lastMessage)")
    try device.bind(to: "vfio-pci")
    let end = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      end == 0 && lines.ended && lines.faults.isEmpty,
      "status \(end); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    return "unbound after \(seconds.formatted(.number.precision(.fractionLength(1)))) s"
  }

  /// L1's kernel reports errors of the network interface. Between two errors, the guest's network works.
  private static func error(_ context: CaseContext, times: Int) throws -> String {
    try forSluice(context)
    let device = HostDevice(Address.errorNetwork)
    let guest = LinuxGuest(
      kernel: .newFull, devices: [device.address + ",port"], steps: ["ping", "recover-\(times)"])
    let child = try context.start(guest.command(context), as: "guest")
    for number in 1...times {
      try child.expect("lab: recover \(number)\r\n")
      try ErrorInjection.inject(number % 2 == 0 ? .nonFatal : .fatal, device.address, context)
    }
    let status = try child.wait()
    let lines = GuestLines(child.output)
    try context.require(
      status == 0 && lines.ended && lines.faults.isEmpty,
      "status \(status); \(lines.faults.joined(separator: "; ")); \(child.lastMessage)")
    // The host's kernel reports no severity, so that each error is contained.
    try PortErrorCases.checkContainment(context, errors: times)
    try device.requireReleased()
    return "\(times) errors"
  }

  private static func port(_ context: CaseContext) throws -> String {
    try forSluice(context)
    let guest = LinuxGuest(
      devices: [Address.bigDrive + ",port"],
      steps: ["nvme-sha256", "ports", "nvme-bus-reset", "nvme-sha256", "slots-off"],
      options: ["--ports", "1"])
    let lines = try guest.run(context)
    let slots = lines.values(of: "slots-off")
    try context.require(slots.count == 1, "the guest did not switch the slot off: \(lines.faults)")
    try HostDevice(Address.bigDrive).requireReleased()
    return lines.lines.filter { $0.hasPrefix("slot ") || $0.hasPrefix("osc ") }.joined(separator: "; ")
  }
}
