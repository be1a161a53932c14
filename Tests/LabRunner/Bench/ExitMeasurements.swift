// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The costs of accesses that exit to the VMM, and of accesses and interrupts that do not.
enum ExitMeasurements {
  static let all = [device, dispatch, openAccesses, interrupts, allocations]

  /// Returns the minimum and the median of an access, from the guest's line `bench.KEY = MINIMUM MEDIAN P99`.
  static func ticks(_ launch: Launch, _ key: String) throws -> (least: Double, median: Double) {
    var facts = Observations()
    facts.add(probe: launch.output)
    let words = facts.values["bench.\(key)"]?.split(separator: " ") ?? []
    guard words.count == 3, let least = Double(words[0]), let median = Double(words[1]) else {
      throw Failed("the guest did not write bench.\(key)")
    }
    return (least, median)
  }

  private static func figure(_ key: String, _ title: String, _ aims: Aim...) -> Figure {
    var figure = Figure(key, title, "ticks")
    figure.aims = aims
    return figure
  }

  /// The total time of an access, in ticks of the guest's time stamp counter.
  private static let device = Measurement(
    name: "accesses",
    figures: [
      // The C program's time is the share of KVM.
      figure("port-read", "port read", .atMost(1.10, times: .program)),
      figure("config-read", "config read, NVMe", .atMost(1.10, times: .program)),
      figure("table-read", "MSI-X table read, NVMe", .atMost(1.10, times: .program)),
      figure("memory-bit", "memory bit off and on, with an open window", .atMost(0.30, times: .qemu)),
      figure("memory-bit-touch", "memory bit off and on, and the next access"),
      figure("mask", "MSI-X mask and unmask", .atMost(0.5, times: .qemu)),
    ], vmms: [.sluice, .qemu, .program], emulation: .instructionClock
  ) { trial in
    let isLoop = trial.vmm == .program
    let guest = BenchGuest(
      image: .small("Bench"), devices: isLoop ? [] : [Address.bigDrive],
      append: isLoop ? "table=0xdf000000" : "device=1", memory: "128M")
    let launch = try trial.run(guest, marks: ["ok - all times"])
    let keys = ["port-read", "config-read", "table-read"]
    return try values(launch, isLoop ? keys : keys + ["memory-bit", "memory-bit-touch", "mask"])
  }

  /// The same exits without a device, compared with a minimal C program.
  ///
  /// The difference is small compared with an exit. Therefore the minimum of many samples is used.
  private static let dispatch = Measurement(
    name: "dispatch",
    figures: [
      figure("dispatch-port", "port read, no device", .atMost(1.10, times: .program)),
      figure("dispatch-config", "config read of an empty PCI slot", .atMost(1.10, times: .program)),
      figure("dispatch-memory", "unclaimed MMIO read", .atMost(1.10, times: .program)),
    ], vmms: [.sluice, .qemu, .program], emulation: .instructionClock, worksHere: true
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

  /// Returns the number of calls per event, from the difference of two runs with different numbers of events.
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
      Figure("open-accesses", "returns of KVM_RUN per MMIO access to an open window", "", .atMost(0.005))
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

  /// The repeated accesses: their names in `Guests/Bench`, and their titles.
  private static let kinds = [
    ("port-read", "port read"),
    ("config-read", "config read of an emulated register"),
    ("config-read-device", "config read of a device register"),
    ("config-write", "config write to an emulated register"),
    ("config-write-device", "config write to a device register"),
    ("table-read", "MSI-X table read"),
    ("mask", "MSI-X mask and unmask"),
    ("memory-bit", "memory bit off and on"),
    ("first-touch", "memory bit off and on, and the access that opens the window"),
  ]

  /// The functions that allocate memory. The functions of the Swift runtime call them.
  ///
  /// A call of realloc with a null pointer counts twice.
  private static let allocators = ["malloc", "calloc", "realloc", "posix_memalign"]
  /// The functions that change reference counts.
  ///
  /// A function for a string or an array counts twice if it calls another function of the list.
  private static let counters = [
    "swift_retain", "swift_retain_n", "swift_bridgeObjectRetain", "swift_release", "swift_release_n",
    "swift_bridgeObjectRelease",
  ]

  private static let allocations = Measurement(
    name: "allocations",
    figures: kinds.flatMap { name, title in
      [
        Figure("allocations-\(name)", "heap allocations: \(title)", "", .atMost(0.005)),
        Figure("references-\(name)", "retains and releases: \(title)", "", .atMost(0.005)),
      ]
    }, vmms: [.sluice], isCounted: true, emulation: .inTurns
  ) { trial in
    let manifest = trial.context.manifest
    let program = try ProgramFile(
      URL(filePath: manifest.sluice), symbols: URL(filePath: manifest.symbols))
    let probes = try CallProbes(program, functions: allocators + counters)
    defer { try? CallProbes.remove() }  // remaining probes only make L1 slower
    func calls(_ kind: String, _ exits: Int) throws -> [String: Int] {
      let before = try probes.counts(of: "vcpu0")
      _ = try trial.run(
        BenchGuest(
          image: .small("Bench"), devices: [Address.bigDrive], append: "part=6 kind=\(kind) exits=\(exits)",
          memory: "128M"))
      return try probes.counts(of: "vcpu0").merging(before) { $0 - $1 }
    }
    var numbers: [String: Double] = [:]
    let events = 1000
    for (kind, _) in kinds {
      let few = try calls(kind, 100)
      guard few.values.contains(where: { $0 > 0 }) else {
        throw Failed("the probes counted no call of the vCPU thread")
      }
      let many = try calls(kind, 100 + events)
      func perExit(_ functions: [String]) -> Double {
        Double(functions.reduce(0) { $0 + (many[$1] ?? 0) - (few[$1] ?? 0) }) / Double(events)
      }
      numbers["allocations-\(kind)"] = perExit(allocators)
      numbers["references-\(kind)"] = perExit(counters)
    }
    return numbers
  }
}
