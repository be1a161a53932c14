// SPDX-License-Identifier: Apache-2.0

/// What accesses cost that a monitor answers, and those that it does not.
enum ExitMeasurements {
  static let all = [device, dispatch, openAccesses, interrupts]

  /// What the guest wrote of an access: the least, the median and the 99th of 100.
  private static func ticks(_ launch: Launch, _ key: String) throws -> (least: Double, median: Double) {
    var facts = Facts()
    facts.add(probe: launch.output)
    let words = facts.values["bench.\(key)"]?.split(separator: " ") ?? []
    guard words.count == 3, let least = Double(words[0]), let median = Double(words[1]) else {
      throw Failed("the guest wrote no bench.\(key)")
    }
    return (least, median)
  }

  private static func figure(_ key: String, _ title: String, _ aims: Aim...) -> Figure {
    var figure = Figure(key, title, "ticks")
    figure.aims = aims
    return figure
  }

  /// All of an access, in ticks of the guest's time stamp counter.
  private static let device = Measurement(
    name: "accesses",
    figures: [
      figure("port-read", "port read", .atMost(0.5, times: .qemu), .atMost(1.10, times: .program)),
      figure("config-read", "config read, NVMe", .atMost(0.5, times: .qemu), .atMost(1.10, times: .program)),
      figure(
        "table-read", "MSI-X table read, NVMe", .atMost(0.5, times: .qemu), .atMost(1.10, times: .program)),
      figure("memory-bit", "memory bit off and on, window open before", .atMost(0.30, times: .qemu)),
      figure("memory-bit-touch", "memory bit off and on, and the next access"),
      figure("mask", "MSI-X mask and unmask", .atMost(0.5, times: .qemu)),
    ], vmms: [.sluice, .qemu, .program]
  ) { trial in
    let isLoop = trial.vmm == .program
    let guest = BenchGuest(
      image: .small("Bench"), devices: isLoop ? [] : [Address.bigDrive],
      append: isLoop ? "table=0xdf000000" : "device=1", memory: "128M")
    let launch = try trial.run(guest, marks: ["ok - all times"])
    let keys = ["port-read", "config-read", "table-read"]
    return try values(launch, isLoop ? keys : keys + ["memory-bit", "memory-bit-touch", "mask"])
  }

  /// The same exits without a device, against the least that can answer them. What differs is small beside an exit,
  /// so the least of many is taken.
  private static let dispatch = Measurement(
    name: "dispatch",
    figures: [
      figure("dispatch-port", "port read, no device", .atMost(1.10, times: .program)),
      figure("dispatch-config", "config read of an empty slot", .atMost(1.10, times: .program)),
      figure("dispatch-memory", "MMIO read where nothing is", .atMost(1.10, times: .program)),
    ], vmms: [.sluice, .qemu, .program], worksHere: true
  ) { trial in
    let guest = BenchGuest(image: .small("Bench"), append: "device=9 table=0xdf000000", memory: "128M")
    let launch = try trial.run(guest, marks: ["ok - all times"])
    return [
      "dispatch-port": try ticks(launch, "port-read").least,
      "dispatch-config": try ticks(launch, "config-read").least,
      "dispatch-memory": try ticks(launch, "table-read").least,
    ]
  }

  private static func values(_ launch: Launch, _ keys: [String]) throws -> [String: Double] {
    var values: [String: Double] = [:]
    for key in keys { values[key] = try ticks(launch, key).median }
    return values
  }

  /// What is left of the calls when those of a run with none are taken away.
  private static func perEvent(
    _ trial: Trial, _ append: (Int) -> String, _ kind: (CallCounts) -> Int
  ) throws -> Double {
    func count(_ events: Int) throws -> Int {
      let guest = BenchGuest(
        image: .small("Bench"), devices: [Address.bigDrive], append: append(events), memory: "128M")
      return kind(try trial.calls(of: guest))
    }
    let none = try count(100)
    let events = 2000
    return Double(try count(100 + events) - none) / Double(events)
  }

  private static let openAccesses = Measurement(
    name: "open-accesses",
    figures: [
      Figure("open-accesses", "returns of KVM_RUN per MMIO access once open", "", .atMost(0.005))
    ], vmms: [.sluice, .qemu], isCounted: true
  ) { trial in
    ["open-accesses": try perEvent(trial, { "part=2 accesses=\($0)" }, \.runs)]
  }

  private static let interrupts = Measurement(
    name: "interrupts",
    figures: [
      Figure("interrupts", "system calls of all threads per MSI-X interrupt", "", .atMost(0.005))
    ], vmms: [.sluice, .qemu], isCounted: true
  ) { trial in
    ["interrupts": try perEvent(trial, { "part=3 interrupts=\($0)" }, \.all)]
  }
}
