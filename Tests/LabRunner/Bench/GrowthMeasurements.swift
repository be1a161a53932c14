// SPDX-License-Identifier: Apache-2.0

/// How starts grow with guest RAM and with the size of a BAR.
enum GrowthMeasurements {
  static let all = [memory, memoryHere, bar, peerDMA, linuxBAR, linuxBARCalls]

  /// L1 has 4 GiB, so the guest cannot have them.
  private static let memory = Measurement(
    name: "memory-growth",
    figures: [
      Figure(
        "memory-growth", "growth of exec to first guest instruction, 512 MiB to 2 GiB of RAM", "ms",
        .atMost(10))
    ], vmms: [.sluice, .qemu]
  ) { trial in
    ["memory-growth": try growth(trial, [Address.bigDrive], to: "2G")]
  }

  /// Without a device, on a machine that has the memory.
  private static let memoryHere = Measurement(
    name: "memory-growth-here",
    figures: [
      Figure(
        "memory-growth-here", "the same without a device, 512 MiB to 4 GiB of RAM", "ms", .atMost(10))
    ], vmms: [.sluice], worksInL1: false, worksHere: true
  ) { trial in
    ["memory-growth-here": try growth(trial, [], to: "4G")]
  }

  /// Of several starts the shortest: one disturbance is more than what is looked for. QEMU takes seconds.
  private static func growth(_ trial: Trial, _ devices: [String], to most: String) throws -> Double {
    var guest = BenchGuest(image: .first, devices: devices)
    func shortest() throws -> Double {
      let times = try (0..<(trial.vmm == .sluice ? 4 : 1)).map { _ in try trial.time(of: guest, to: "!") }
      return times.min() ?? 0
    }
    let small = try shortest()
    guest.memory = most
    return try shortest() - small
  }

  /// A small guest turns the BAR on and leaves it alone.
  private static let bar = Measurement(
    name: "bar-growth",
    figures: [
      Figure("bar-1M", "exec to a guest that has turned on a BAR of 1 MiB", "ms"),
      Figure("bar-16G", "exec to a guest that has turned on a BAR of 16 GiB", "ms"),
    ], vmms: [.sluice, .qemu]
  ) { trial in
    var values: [String: Double] = [:]
    for (name, device) in [("1M", MachineDevices.benchSmallBAR), ("16G", MachineDevices.benchLargeBAR)] {
      try HostDevice(device).bind(to: "vfio-pci")
      let guest = BenchGuest(image: .small("Bench"), devices: [device], append: "part=5 bar=2")
      values["bar-\(name)"] = try trial.time(of: guest, to: "ok - ready")
    }
    return values
  }

  /// With a device that may reach the BAR, which QEMU always prepares for all of it.
  private static let peerDMA = Measurement(
    name: "peer-dma",
    figures: [1, 16, 64].map { places in
      Figure("peer-\(places)", "exec to \(places) places of 16 GiB touched, with peer DMA", "ms")
    }, vmms: [.sluice, .qemu]
  ) { trial in
    let devices = [MachineDevices.benchLargeBAR, Address.edu]
    for device in devices { try HostDevice(device).bind(to: "vfio-pci") }
    var values: [String: Double] = [:]
    for places in [1, 16, 64] {
      let guest = BenchGuest(
        image: .small("Bench"), devices: devices, append: "part=5 bar=2 touch=\(places)")
      values["peer-\(places)"] = try trial.time(of: guest, to: "ok - ready")
    }
    return values
  }

  private static let linuxBARs = [MachineDevices.benchSmallBAR, MachineDevices.benchLargeBAR]

  /// A number of the start of Linux with the large BAR, by how many per cent it is above that with the small one.
  private static func growth(_ number: (BenchGuest) throws -> Double) throws -> Double {
    let numbers = try linuxBARs.map { device in
      try HostDevice(device).bind(to: "vfio-pci")
      return try number(BenchGuest(image: .linux(steps: []), devices: [device]))
    }
    return (numbers[1] / numbers[0] - 1) * 100
  }

  /// QEMU, which prepares for all of the BAR, takes a minute; ``bar`` has it. The same start of Linux takes from 5.9 to
  /// 9.2 s in L1, so that it takes many pairs to see 5 %; where L1's processors take turns Linux does not come up.
  private static let linuxBAR = Measurement(
    name: "bar-growth-linux",
    figures: [
      Figure("init-bar-growth", "growth of exec to /init, BAR of 1 MiB to 16 GiB", "%", .atMost(5))
    ], vmms: [.sluice]
  ) { trial in
    ["init-bar-growth": try growth { try trial.time(of: $0, to: "lab: init") }]
  }

  /// What is done, which does not spread.
  private static let linuxBARCalls = Measurement(
    name: "bar-growth-calls",
    figures: [Figure("calls-bar-growth", "the same in ioctl calls to power-off", "%", .atMost(5))],
    vmms: [.sluice], isCounted: true
  ) { trial in
    ["calls-bar-growth": try growth { Double(try trial.calls(of: $0).ioctls) }]
  }
}
