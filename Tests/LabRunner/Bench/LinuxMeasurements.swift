// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a Linux guest with a passed-through NVMe drive costs, and gets.
enum LinuxMeasurements {
  static let all = [start, calls, memory, vectors, reads]

  private static let everyone: [VMMName] = [.sluice, .qemu, .microvm, .kvmtool]

  /// The same drive for everyone; where kvmtool takes part, one that it can have.
  private static func guest(_ trial: Trial, _ steps: String..., cpus: Int = 1) throws -> BenchGuest {
    let drive = trial.bench.manifest.kvmtool == nil ? Address.bigDrive : MachineDevices.benchDrive
    try HostDevice(drive).bind(to: "vfio-pci")
    return BenchGuest(image: .linux(steps: steps), devices: [drive], cpus: cpus)
  }

  private static let start = Measurement(
    name: "init",
    figures: [Figure("init", "exec to the guest's /init, NVMe passed through", "s", .atMost(timesBest: 0.9))],
    vmms: everyone
  ) { trial in
    let launch = try trial.run(guest(trial), marks: ["lab: init"])
    return ["init": launch.marks[0].milliseconds / 1000]
  }

  private static let calls = Measurement(
    name: "calls",
    figures: [
      Figure(
        "ioctls", "ioctl calls, exec to power-off, the drive read once", "", .atMost(0.15, times: .qemu),
        .atMost(0.7, times: .kvmtool)),
      Figure("runs", "returns of KVM_RUN among them", ""),
    ], vmms: everyone, isCounted: true
  ) { trial in
    let counts = try trial.calls(of: guest(trial, "nvme-sha256"))
    return ["ioctls": Double(counts.ioctls), "runs": Double(counts.runs)]
  }

  private static let memory = Measurement(
    name: "memory",
    figures: [
      Figure("own-memory", "the monitor's own memory: peak less guest RAM, 512 MiB", "MiB", .atMost(4))
    ], vmms: everyone, isCounted: true
  ) { trial in
    var guestRAM: [Int] = []
    let guest = try guest(trial, "nvme-sha256", "wait")
    let launch = try trial.run(guest, marks: ["lab: ok nvme-sha256"]) { process, _ in
      guestRAM.append(MemoryMaps(smaps: try ProcFile.text("/proc/\(process)/smaps")).guestRAM)
    }
    guard let guestRAM = guestRAM.first, guestRAM > 0 else { throw Failed("no guest RAM in smaps") }
    return ["own-memory": Double(launch.peak - guestRAM) / 1024]
  }

  /// Four processors and the admin queue: a driver that uses five.
  private static let vectors = Measurement(
    name: "vectors",
    figures: [
      Figure("vectors", "vectors allocated in the host, NVMe with 65 whose driver uses 5", "", .atMost(5))
    ], vmms: everyone, isCounted: true
  ) { trial in
    var vectors = 0
    let guest = try guest(trial, "nvme-sha256", "wait", cpus: 4)
    _ = try trial.run(guest, marks: ["lab: ok nvme-sha256"]) { _, _ in
      let text = try ProcFile.text("/proc/interrupts")
      vectors = text.split(separator: "\n").count { $0.contains("vfio-msi") && $0.contains(guest.devices[0]) }
    }
    return ["vectors": Double(vectors)]
  }

  /// Each depth for six seconds, after one that does not count: in three, two runs of one monitor differ by 15 %.
  private static let reads = Measurement(
    name: "random-read",
    figures: [1, 32].map { depth in
      Figure(
        "random-read-\(depth)", "NVMe 4 KiB random reads in the guest (fio), queue depth \(depth)", "per s",
        .atLeast(1.0, times: .qemu))
    }, vmms: [.sluice, .qemu]
  ) { trial in
    let launch = try trial.run(guest(trial, "random-read"))
    var values: [String: Double] = [:]
    for words in GuestLines(launch.output).values(of: "random-read") where words.count == 2 {
      values["random-read-\(words[0])"] = Double(words[1])
    }
    guard values.count == 2 else { throw Failed("the guest reported \(values.count) of 2 numbers") }
    return values
  }
}
