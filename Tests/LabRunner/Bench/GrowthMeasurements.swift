// SPDX-License-Identifier: Apache-2.0

/// The growth of the start with guest RAM and with the size of a BAR.
enum GrowthMeasurements {
  static let all = [memory, memoryHere, bar, peerDMA, linuxBAR, linuxBARCalls]

  /// The growth to 2 GiB. L1 has 4 GiB of RAM, so a guest cannot have 4 GiB.
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

  /// The growth to 4 GiB without a device, on a machine with enough memory.
  private static let memoryHere = Measurement(
    name: "memory-growth-here",
    figures: [
      Figure(
        "memory-growth-here", "growth of exec to first guest instruction, no device, 512 MiB to 4 GiB of RAM",
        "ms", .atMost(10))
    ], vmms: [.sluice], worksInL1: false, worksHere: true
  ) { trial in
    ["memory-growth-here": try growth(trial, [], to: "4G")]
  }

  /// Returns the growth of the start in milliseconds.
  ///
  /// The shortest of several starts counts, because one disturbance is larger than the growth. QEMU takes
  /// seconds to start, and starts once.
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

  /// A small guest turns the BAR on and does not access it.
  private static let bar = Measurement(
    name: "bar-growth",
    figures: [
      Figure("bar-1M", "exec to a guest that has turned on a BAR of 1 MiB", "ms"),
      Figure("bar-16G", "exec to a guest that has turned on a BAR of 16 GiB", "ms"),
    ], vmms: [.sluice, .qemu]
  ) { trial in
    var values: [String: Double] = [:]
    for (name, device) in [("1M", MachineDevices.benchSmallBAR), ("16G", Address.largeMemory)] {
      try HostDevice(device).bind(to: "vfio-pci")
      let guest = BenchGuest(image: .small("Bench"), devices: [device], append: "part=5 bar=2")
      values["bar-\(name)"] = try trial.time(of: guest, to: "ok - ready")
    }
    return values
  }

  /// A second device may access the BAR by DMA. QEMU always prepares the whole BAR for this.
  private static let peerDMA = Measurement(
    name: "peer-dma",
    figures: [1, 16, 64].map { accesses in
      Figure(
        "peer-\(accesses)", "exec to \(accesses) accessed addresses of a 16 GiB BAR, with peer DMA", "ms")
    }, vmms: [.sluice, .qemu]
  ) { trial in
    let devices = [Address.largeMemory, Address.edu]
    for device in devices { try HostDevice(device).bind(to: "vfio-pci") }
    var values: [String: Double] = [:]
    for accesses in [1, 16, 64] {
      let guest = BenchGuest(
        image: .small("Bench"), devices: devices, append: "part=5 bar=2 touch=\(accesses)")
      values["peer-\(accesses)"] = try trial.time(of: guest, to: "ok - ready")
    }
    return values
  }

  private static let linuxBARs = [MachineDevices.benchSmallBAR, Address.largeMemory]

  /// Returns the growth of a number in percent, between starts of Linux with the small and the large BAR.
  private static func growth(_ number: (BenchGuest) throws -> Double) throws -> Double {
    let numbers = try linuxBARs.map { device in
      try HostDevice(device).bind(to: "vfio-pci")
      return try number(BenchGuest(image: .linux(steps: []), devices: [device]))
    }
    return (numbers[1] / numbers[0] - 1) * 100
  }

  /// The growth of the start of Linux. Only ``bar`` measures QEMU, which prepares the whole BAR for a minute.
  ///
  /// The same start of Linux takes 5.9 to 9.2 s in L1, so that many pairs are needed to detect 5 %. Linux
  /// does not start in an L1 whose processors share one thread.
  private static let linuxBAR = Measurement(
    name: "bar-growth-linux",
    figures: [
      Figure("init-bar-growth", "growth of exec to /init, BAR of 1 MiB to 16 GiB", "%", .atMost(5))
    ], vmms: [.sluice]
  ) { trial in
    ["init-bar-growth": try growth { try trial.time(of: $0, to: "lab: init") }]
  }

  /// The growth of the number of ioctl calls. This number does not spread.
  private static let linuxBARCalls = Measurement(
    name: "bar-growth-calls",
    figures: [
      Figure(
        "calls-bar-growth", "growth of ioctl calls to power-off, BAR of 1 MiB to 16 GiB", "%", .atMost(5))
    ],
    vmms: [.sluice], isCounted: true
  ) { trial in
    ["calls-bar-growth": try growth { Double(try trial.calls(of: $0).ioctls) }]
  }
}
