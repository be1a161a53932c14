// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The times from exec to the guest, and from the end of the guest to the end of the process.
enum StartMeasurements {
  private static let qemus: [VMMName] = [.sluice, .qemu, .microvm]

  static let all = [firstInstruction, layers, port, kernelStart, powerOff, drives, perDevice]

  /// The time before the guest. For QEMU, the guest replaces the firmware and writes at once.
  private static let firstInstruction = Measurement(
    name: "first-instruction",
    figures: [
      Figure(
        "first-instruction", "exec to first guest instruction, one NVMe, 512 MiB", "ms",
        .atMost(0.10, times: .qemu))
    ], vmms: qemus, emulation: .instructionClock
  ) { trial in
    let guest = BenchGuest(image: .first, devices: [Address.bigDrive])
    return ["first-instruction": try trial.time(of: guest, to: "!")]
  }

  /// The time before the guest by the clock that counts L1's instructions, with and without the layers.
  private static let layers = Measurement(
    name: "layers",
    figures: [
      Figure("counted-start", "exec to first guest instruction, with a trace, one NVMe, 512 MiB", "ms"),
      Figure(
        "layers", "layers of confinement at the start, without the filters of the threads",
        "ms", .atMost(5)),
    ], vmms: [.sluice], emulation: .instructionClock
  ) { trial in
    let (with, without) = (try confinement(trial, "on"), try confinement(trial, "off"))
    return ["counted-start": with.start, "layers": with.layers - without.layers]
  }

  /// Returns the milliseconds from exec to the guest, and the milliseconds of the phase in which Sluice enters the layers.
  private static func confinement(_ trial: Trial, _ sandbox: String) throws -> (start: Double, layers: Double)
  {
    var guest = BenchGuest(image: .first, devices: [Address.bigDrive])
    let file = trial.context.file("\(trial.label)-\(sandbox).jsonl")
    guest.options = ["--sandbox", sandbox, "--trace", file.path]
    let start = try trial.time(of: guest, to: "!")
    return (start, try time(from: "devices-ready", to: "confined", in: file))
  }

  /// Returns the milliseconds between two phases of a trace.
  private static func time(from first: String, to last: String, in file: URL) throws -> Double {
    let phases = try Trace(file: file).records.filter { $0.event == "phase" }
    func time(_ name: String) throws -> Double {
      guard let time = phases.first(where: { $0["name"] == name }).flatMap({ Double($0.time) }) else {
        throw Failed("the trace has no phase \(name)")
      }
      return time
    }
    return try (time(last) - time(first)) / 1000
  }

  /// The cost of an empty root port by the clock that counts L1's instructions.
  private static let port = Measurement(
    name: "port-start",
    figures: [
      Figure(
        "port-start", "start with an empty root port, in addition, no device", "ms",
        .atMost(5))
    ], vmms: [.sluice], emulation: .instructionClock
  ) { trial in
    var guest = BenchGuest(image: .first)
    func start(_ ports: Int) throws -> Double {
      let file = trial.context.file("\(trial.label)-\(ports).jsonl")
      guest.options = ["--ports", "\(ports)", "--trace", file.path]
      _ = try trial.run(guest)
      return try time(from: "program-started", to: "confined", in: file)
    }
    return ["port-start": try start(1) - start(0)]
  }

  /// The time before a kernel, which QEMU's firmware starts.
  ///
  /// Under microvm in L1, such a kernel does not start with a passed-through device. Linux does.
  private static let kernelStart = Measurement(
    name: "kernel-start",
    figures: [Figure("kernel-start", "exec to first line of a small kernel, one NVMe, 512 MiB", "ms")],
    vmms: [.sluice, .qemu], emulation: .instructionClock
  ) { trial in
    let guest = BenchGuest(image: .small("hello"), devices: [Address.bigDrive])
    return ["kernel-start": try trial.time(of: guest, to: "ok - PVH")]
  }

  /// Guest RAM is already pinned. The guest turns bus mastering on, and this waits for the pinning.
  private static let powerOff = Measurement(
    name: "power-off",
    figures: [
      Figure("power-off", "guest power-off to process exit, one NVMe", "ms", .atMost(0.50, times: .qemu)),
      Figure("power-off-reset", "of it Sluice's reset of the drive, before the kernel's reset", "ms"),
    ], vmms: [.sluice, .qemu], emulation: .instructionClock
  ) { trial in
    let guest = BenchGuest(image: .small("Bench"), devices: [Address.bigDrive], append: "part=4")
    let launch = try trial.run(guest, marks: ["ok - ready"])
    var numbers = ["power-off": (launch.end - launch.lastByte).milliseconds]
    if trial.vmm == .sluice { numbers["power-off-reset"] = try reset(guest, trial) }
    return numbers
  }

  /// Returns the milliseconds of the reset at the end of another run, which has a trace.
  private static func reset(_ guest: BenchGuest, _ trial: Trial) throws -> Double {
    var guest = guest
    let file = trial.context.file("\(trial.label).jsonl")
    guest.options = ["--trace", file.path]
    _ = try trial.run(guest, marks: ["ok - ready"])
    let resets = try Trace(file: file).records.filter { $0.event == "reset" && $0.why == "hand-back" }
    guard let time = resets.first.flatMap({ Double($0["us"] ?? "") }) else {
      throw Failed("the trace has no reset at the end")
    }
    return time / 1000
  }

  /// Each reset takes 100 ms.
  private static let drives = Measurement(
    name: "four-drives",
    figures: [
      Figure("first-instruction-4", "exec to first guest instruction, four NVMe", "ms"),
      Figure("power-off-4", "guest power-off to process exit, four NVMe", "ms"),
    ], vmms: [.sluice, .qemu]
  ) { trial in
    let drives = [Address.bigDrive, Address.smallDrive, Address.scratchDrive, MachineDevices.benchDrive]
    for drive in drives { try HostDevice(drive).bind(to: "vfio-pci") }
    let first = try trial.time(of: BenchGuest(image: .first, devices: drives), to: "!")
    let guest = BenchGuest(image: .small("Bench"), devices: drives, append: "part=4")
    let launch = try trial.run(guest, marks: ["ok - ready"])
    return [
      "first-instruction-4": first, "power-off-4": (launch.end - launch.lastByte).milliseconds,
    ]
  }

  /// Devices without a reset, in a VM with 16 vCPUs. The time outside of system calls is the VMM's own time.
  private static let perDevice = Measurement(
    name: "per-device",
    figures: [
      Figure(
        "per-device-own", "start per additional device, 1 to 16, outside of system calls", "ms",
        .atMost(2)),
      Figure("per-device", "start per additional device, 1 to 16, in total", "ms"),
    ], vmms: qemus, emulation: .instructionClock
  ) { trial in
    for device in [Address.edu] + MachineDevices.benchEdus { try HostDevice(device).bind(to: "vfio-pci") }
    let devices = [Address.edu] + MachineDevices.benchEdus.dropLast()
    let one = BenchGuest(image: .first, devices: [Address.edu], cpus: 16)
    let all = BenchGuest(image: .first, devices: devices, cpus: 16)
    let few = try KernelTrace { _ = try trial.run(one) }
    let many = try KernelTrace { _ = try trial.run(all) }
    func each(_ time: KeyPath<KernelTrace, Double>) -> Double {
      (many[keyPath: time] - few[keyPath: time]) / 1000 / Double(devices.count - 1)
    }
    return ["per-device-own": each(\.ownTime), "per-device": each(\.time)]
  }
}
