// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A case that `here` runs on the device that is named.
struct HereCase: Sendable {
  let name: String
  /// The property that the case shows.
  let purpose: String
  var limit = 60
  /// Returns the reason why the case cannot run on a device, or nil.
  let reasonToSkip: @Sendable (HereDevice) -> String?
  /// Runs the case on a device that is bound to vfio-pci. Returns a remark for the report.
  let body: @Sendable (HereDevice, CaseContext) throws -> String

  /// Returns the case for a device, for a runner.
  func asCase(_ device: HereDevice) -> Case {
    Case(name, purpose, limit: limit) { context in
      if let reason = reasonToSkip(device) { throw Skipped(reason) }
      return try body(device, context)
    }
  }
}

/// The cases of `here`. They run the guests and the checks of other cases on any device. They write to the device's
/// configuration space, and to its queues and interrupt registers, but not to its storage.
enum HereCases {
  static let all: [HereCase] = [
    HereCase(
      name: "here-bind", purpose: "'sluice bind' binds vfio-pci, 'sluice unbind' binds the host's driver",
      reasonToSkip: { device in
        device.hostDriver == nil ? "the device had no driver of the host" : nil
      },
      body: { device, context in
        try ToolCases.bind(HostDevice(device.address), hostDriver: device.hostDriver ?? "", context)
        return device.hostDriver ?? ""
      }),
    HereCase(
      name: "here-run", purpose: "the windows of each memory BAR open at their first access", limit: 120,
      reasonToSkip: withoutMemory, body: openWindows),
    HereCase(
      name: "here-config", purpose: "the configuration space conforms to PCI Express",
      reasonToSkip: { _ in nil },
      body: { device, context in
        try BareMetalGuest("config", [device.address], append: "functions=1").check(context)
      }),
    HereCase(
      name: "here-memory-bit", purpose: "50 toggles of the memory bit while another vCPU reads", limit: 90,
      reasonToSkip: withoutMemory,
      body: { device, context in
        try BareMetalCases.toggle(device.address, 50, append: "any=1", context).remark
      }),
    HereCase(
      name: "here-reset", purpose: "the device works after FLR, and after D3hot and D0", limit: 90,
      reasonToSkip: { device in
        // Power management, PCI Express and Advanced Features.
        device.capabilities.contains { [0x01, 0x10, 0x13].contains($0) }
          ? withoutMemory(device) : "the device has neither FLR nor power management"
      },
      body: { device, context in
        try BareMetalGuest("reset", [device.address], append: "any=1 resets=1", cpus: 2).check(context)
      }),
    HereCase(
      name: "here-interrupts", purpose: "interrupts of the device arrive by MSI-X or MSI", limit: 90,
      reasonToSkip: { device in
        interruptGuest(device) == nil ? "no small guest can raise an interrupt of this kind of device" : nil
      },
      body: { device, context in
        guard let (name, append) = interruptGuest(device) else { return "" }
        return try BareMetalGuest(name, [device.address], append: append, cpus: 2).check(context)
      }),
    HereCase(
      name: "here-linux", purpose: "Linux finds the device and binds its driver; NVMe: reads the first MiB",
      limit: 150,
      reasonToSkip: { _ in nil }, body: linux),
    HereCase(
      name: "here-removal",
      purpose: "the host unbinds the device in use: the guest reads all-ones and continues",
      limit: 90, reasonToSkip: withoutMemory, body: removal),
  ]

  @Sendable private static func withoutMemory(_ device: HereDevice) -> String? {
    device.memoryBARs.isEmpty ? "the device has no memory BAR" : nil
  }

  /// Returns the small guest that raises interrupts of a device, and its command line, or nil.
  static func interruptGuest(_ device: HereDevice) -> (name: String, append: String)? {
    let (hasMSI, hasMSIX) = (device.capabilities.contains(0x05), device.capabilities.contains(0x11))
    return switch (device.class, "\(device.vendor):\(device.device)") {
    case ("010802", _) where hasMSIX: ("msix", "")
    case (_, "1234:11e8") where hasMSI: ("msi", "interrupts=50")
    case ("0c0330", _) where hasMSIX: ("vectors", "storm=100 rounds=1")
    case ("0c0330", _) where hasMSI: ("msi", "")
    default: nil
    }
  }

  @Sendable private static func openWindows(_ device: HereDevice, _ context: CaseContext) throws -> String {
    let remarks = try device.memoryBARs.map { bar in
      let guest = BareMetalGuest("bar-lazy-open", [device.address], append: "any=1 bar=\(bar)")
      return "BAR \(bar): \(try guest.check(context, as: "guest-\(bar)"))"
    }
    return remarks.joined(separator: "; ")
  }

  @Sendable private static func linux(_ device: HereDevice, _ context: CaseContext) throws -> String {
    let isDrive = device.class == "010802"
    let guest = LinuxGuest(
      kernel: .newFull, devices: [device.address],
      steps: ["functions", "drivers"] + (isDrive ? ["nvme-read"] : []))
    let lines = try guest.run(context)
    let functions = lines.values(of: "functions")
    let identity = ["0x" + device.vendor, "0x" + device.device]
    try context.require(
      functions.count == 1 && Array(functions[0].dropFirst().prefix(2)) == identity,
      "the guest found \(functions), expected \(identity)")
    try DeviceCases.checkCapabilities(lines, [device.address], context)
    let driver = lines.values(of: "drivers").first?.last ?? "none"
    let reads = lines.values(of: "nvme-read").map { $0.joined(separator: " ") }.sorted()
    if isDrive {
      try context.require(
        !reads.isEmpty && (device.sums.isEmpty || reads == device.sums),
        "the guest read \(reads), the host \(device.sums)")
    }
    let read = isDrive ? "; the first MiB is \(device.sums.isEmpty ? "read" : "equal to the host's")" : ""
    return "driver in the guest: \(driver)\(read)"
  }

  /// Unbinds the device while the guest `watch` reads it, and binds vfio-pci again.
  @Sendable private static func removal(_ device: HereDevice, _ context: CaseContext) throws -> String {
    let guest = BareMetalGuest("watch", [device.address], append: "any=1 strange=\(Int.max)")
    let watch: WatchGuest
    do { watch = try WatchGuest(context, guest) } catch {
      // The guest ends if no register has a constant value.
      let skipped = context.children.last.map { BareMetalReport($0.output).skipped } ?? []
      guard let reason = skipped.first else { throw error }
      throw Skipped(reason)
    }
    let present = HostDevice(device.address)
    return try RemovalCases.depart(
      watch, device.address, "echo \(device.address) >/sys/bus/pci/drivers/vfio-pci/unbind", hasOther: false
    ) {
      present.driver == nil
    }
  }
}
