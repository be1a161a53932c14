// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The costs and the performance of a Linux guest with a passed-through NVMe drive.
enum LinuxMeasurements {
  static let all = [start, calls, memory, vectors, reads]

  private static let allKinds: [VMMName] = [.sluice, .qemu, .microvm, .kvmtool]

  /// Returns a guest with the same drive for every VMM. kvmtool, if present, supports only one of the drives.
  private static func guest(_ trial: Trial, _ steps: String..., cpus: Int = 1) throws -> BenchGuest {
    let drive = trial.context.manifest.kvmtool == nil ? Address.bigDrive : MachineDevices.benchDrive
    try HostDevice(drive).bind(to: "vfio-pci")
    return BenchGuest(image: .linux(steps: steps), devices: [drive], cpus: cpus)
  }

  private static let start = Measurement(
    name: "init",
    figures: [Figure("init", "exec to the guest's /init, NVMe passed through", "s", .atMost(timesBest: 0.9))],
    vmms: allKinds
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
      Figure("runs", "returns of KVM_RUN among the ioctl calls", ""),
    ], vmms: allKinds, isCounted: true
  ) { trial in
    let counts = try trial.calls(of: guest(trial, "nvme-sha256"))
    return ["ioctls": Double(counts.ioctls), "runs": Double(counts.runs)]
  }

  private static let memory = Measurement(
    name: "memory",
    figures: [
      Figure("own-memory", "memory of the VMM: peak without guest RAM, 512 MiB", "MiB", .atMost(4))
    ]
      + MemoryMaps.Owner.allCases.map { owner in
        Figure("own-\(owner.rawValue)", "of it after the guest's start: \(owner.rawValue)", "MiB")
      }, vmms: allKinds, isCounted: true
  ) { trial in
    var maps: [MemoryMaps] = []
    let guest = try guest(trial, "nvme-sha256", "wait")
    let launch = try trial.run(guest, marks: ["lab: ok nvme-sha256"]) { process, _ in
      maps.append(MemoryMaps(smaps: try ProcFile.text("/proc/\(process)/smaps")))
    }
    guard let maps = maps.first, maps.guestRAM > 0 else {
      throw Failed("/proc/PID/smaps: no mapping has the size of guest RAM")
    }
    var numbers = ["own-memory": Double(launch.peak - maps.guestRAM) / 1024]
    for owner in MemoryMaps.Owner.allCases {
      numbers["own-\(owner.rawValue)"] = Double(maps.owners[owner] ?? 0) / 1024
    }
    return numbers
  }

  /// The driver uses five vectors: one for the admin queue and one for each of four processors.
  private static let vectors = Measurement(
    name: "vectors",
    figures: [
      Figure(
        "vectors", "vectors allocated on the host, NVMe with 65 vectors, 5 used by its driver", "", .atMost(5)
      )
    ], vmms: allKinds, isCounted: true
  ) { trial in
    var vectors = 0
    let guest = try guest(trial, "nvme-sha256", "wait", cpus: 4)
    _ = try trial.run(guest, marks: ["lab: ok nvme-sha256"]) { _, _ in
      let text = try ProcFile.text("/proc/interrupts")
      vectors = text.split(separator: "\n").count { $0.contains("vfio-msi") && $0.contains(guest.devices[0]) }
    }
    return ["vectors": Double(vectors)]
  }

  /// fio reads for six seconds at each depth, after one second that does not count.
  ///
  /// With three seconds, two runs of one VMM differ by 15 %.
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
