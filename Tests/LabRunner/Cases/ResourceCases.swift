// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What the host has to give: huge pages, a NUMA node, processors, mappings of the IOMMU.
enum ResourceCases {
  static let all: [Case] = [
    Case("huge-pages", "guest RAM of huge pages, all at the start, of one node; a vCPU on its processor") {
      bench in try hugePages(bench)
    },
    Case(
      "few-descriptors", "a limit on descriptors: vectors beyond it stay masked, with one warning", limit: 180
    ) {
      bench in try fewDescriptors(bench)
    },
    Case("few-mappings", "an IOMMU with few mappings: larger windows, and everything is reached") { bench in
      try fewMappings(bench)
    },
  ]

  private static let pool = "/sys/kernel/mm/hugepages/hugepages-2048kB"

  private static func number(_ file: String) throws -> Int {
    let text = try ProcFile.text(file).trimmingCharacters(in: .whitespacesAndNewlines)
    guard let number = Int(text) else { throw Failed("\(file) has '\(text)'") }
    return number
  }

  private static func hugePages(_ bench: CaseContext) throws -> String {
    try HostDevice.write("80", to: pool + "/nr_hugepages")
    let end = Result { try checkHugePages(bench) }
    try HostDevice.write("0", to: pool + "/nr_hugepages")
    return try end.get()
  }

  /// 128 MiB are 64 pages.
  private static func checkHugePages(_ bench: CaseContext) throws -> String {
    let before = try number(pool + "/free_hugepages")
    try bench.require(before == 80, "L1 has room for \(before) huge pages, 80 wanted")
    var guest = BareMetalGuest("watch", [Address.edu])
    guest.memory = "128M,hugepages=2M,prealloc,node=0"
    guest.options = ["--cpu-pin", "0:1"]
    let watch = try WatchGuest(bench, guest)
    // Bus mastering, which waits until RAM is ready.
    try watch.child.type("b")
    let command = try watch.state().command
    try bench.require(command.hasSuffix("6"), "COMMAND is \(command)")
    let process = "/proc/\(try watch.child.sluice())"
    let free = try number(pool + "/free_hugepages")
    try bench.require(free == before - 64, "\(before - free) of 64 huge pages are populated")
    let maps = try ProcFile.text(process + "/numa_maps").split(separator: "\n")
      .filter { $0.contains(" huge ") }
    try bench.require(maps.count == 1 && maps[0].contains(" bind:0 "), "guest RAM in numa_maps: \(maps)")
    let place = try processors(ofThread: "vcpu0", process)
    try bench.require(place == "1", "vCPU 0 runs on processors \(place)")
    let trace = try watch.finish()
    let pinned = trace.records.filter { $0.event == "dma" && $0.op == "map" && $0.what == "ram" }
    let bytes = pinned.reduce(0) { $0 + ($1.size ?? 0) }
    try bench.require(bytes == 128 << 20, "\(bytes) bytes of RAM were pinned, expected \(128 << 20)")
    let after = try number(pool + "/free_hugepages")
    try bench.require(after == before, "\(before - after) huge pages were not given back")
    try HostDevice(Address.edu).requireReleased()
    var transfer = BareMetalGuest("edu-dma", [Address.edu])
    (transfer.memory, transfer.options) = (guest.memory, guest.options)
    return "64 pages of node 0; \(try transfer.check(bench, as: "transfer"))"
  }

  private static func processors(ofThread name: String, _ process: String) throws -> String {
    for task in try FileManager.default.contentsOfDirectory(atPath: process + "/task") {
      let path = "\(process)/task/\(task)"
      guard try ProcFile.text(path + "/comm") == name + "\n" else { continue }
      let line = try ProcFile.text(path + "/status").split(separator: "\n").first {
        $0.hasPrefix("Cpus_allowed_list:")
      }
      return line.flatMap { $0.split(separator: "\t").last.map(String.init) } ?? "none"
    }
    throw Failed("no thread \(name)")
  }

  /// Runs the guest of 16 vectors under `ulimit OPTIONS`.
  private static func limited(_ bench: CaseContext, _ options: String, as label: String) throws -> Child {
    let guest = BareMetalGuest("vectors", [Address.usb], append: "storm=10 rounds=1", cpus: 2)
    return try bench.start(
      ["sh", "-c", "ulimit \(options); exec \"$@\"", "sh"] + guest.command(bench, as: label), as: label)
  }

  private static func fewDescriptors(_ bench: CaseContext) throws -> String {
    guard bench.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let soft = try limited(bench, "-S -n 40", as: "soft")
    let process = try soft.sluice()
    var most = 0
    while soft.isRunning {
      // It may end between the two.
      let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
      most = max(most, open ?? 0)
      usleep(20_000)
    }
    let softStatus = try soft.wait()
    if let fault = BareMetalReport(soft.output).fault {
      throw Failed("under a soft limit: \(fault); status \(softStatus); \(soft.lastMessage)")
    }
    // Two vectors have no descriptor: the guest waits five seconds for each.
    try bench.require(most > 42, "only \(most) descriptors under a soft limit of 40")
    let hard = try limited(bench, "-n \(most - 2)", as: "hard")
    let status = try hard.wait()
    let report = BareMetalReport(hard.output)
    // (1 << 1) | 1: the guest reached its end, and some of its checks failed.
    try bench.require(
      status == 3 && report.promised == report.passed.count + report.skipped.count + report.failed.count,
      "under a hard limit: status \(status), \(report.remark); \(hard.lastMessage)")
    let warnings = hard.errors.split(separator: "\n").filter { $0.contains("stays masked") }
    try bench.require(
      warnings.count == 1 && warnings[0].contains(": eventfd: Too many open files"),
      "under a hard limit: \(warnings)")
    try HostDevice(Address.usb).requireReleased()
    return String(warnings[0])
  }

  private static func fewMappings(_ bench: CaseContext) throws -> String {
    guard bench.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let limit = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"
    let before = try number(limit)
    try HostDevice.write("24", to: limit)
    let end = Result { try checkFewMappings(bench) }
    try HostDevice.write("\(before)", to: limit)
    return try end.get()
  }

  /// Of 24 mappings RAM takes one and edu's BAR one: a BAR of 256 MiB, all of which is touched, has 16 windows.
  /// The 17th is that of a BAR of 256 bytes, which nothing touches.
  private static func checkFewMappings(_ bench: CaseContext) throws -> String {
    let guest = BareMetalGuest(
      "bar-lazy-open", [Address.sharedMemory, Address.edu], append: "device=1 steps=128")
    let remark = try guest.check(bench)
    let said = try String(contentsOf: bench.file("guest.err"), encoding: .utf8).split(separator: "\n")
    let refused = said.filter { $0.contains("cannot reach") || $0.contains("stays trapped") }
    try bench.require(refused.isEmpty, refused.joined(separator: "; "))
    let device = said.first { $0.hasPrefix("  \(Address.sharedMemory): ") } ?? ""
    try bench.require(device.contains("windows opened 16 of 17,"), "the summary says '\(device)'")
    let mapped = try Trace(file: bench.file("guest.jsonl")).records.count {
      $0.mappedWindows.first?.device == Address.sharedMemory
    }
    // One by one, and together after the memory bit was off.
    try bench.require(mapped == 17, "\(mapped) mappings of its windows, 17 expected")
    return "\(remark); 16 windows"
  }
}
