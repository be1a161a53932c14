// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for resources of the host: huge pages, a NUMA node, processors, descriptors and IOMMU mappings.
enum ResourceCases {
  static let all: [Case] = [
    Case("huge-pages", "guest RAM is preallocated from huge pages of one node; a vCPU is pinned") {
      context in try hugePages(context)
    },
    Case(
      "few-descriptors", "vectors beyond a limit on descriptors stay masked, with one warning", limit: 180
    ) {
      context in try fewDescriptors(context)
    },
    Case("few-locked", "RAM beyond the limit on locked memory ends the VM; the error names limit and owner") {
      context in try fewLocked(context)
    },
    Case("few-mappings", "with few IOMMU mappings, windows are larger and none stays trapped") { context in
      try fewMappings(context)
    },
  ]

  private static let pool = "/sys/kernel/mm/hugepages/hugepages-2048kB"

  private static func number(_ file: String) throws -> Int {
    let text = try ProcFile.text(file).trimmingCharacters(in: .whitespacesAndNewlines)
    guard let number = Int(text) else { throw Failed("\(file): '\(text)' is not a number") }
    return number
  }

  private static func hugePages(_ context: CaseContext) throws -> String {
    try HostDevice.write("80", to: pool + "/nr_hugepages")
    let end = Result { try checkHugePages(context) }
    try HostDevice.write("0", to: pool + "/nr_hugepages")
    return try end.get()
  }

  /// Checks guest RAM of 128 MiB, which has 64 huge pages.
  private static func checkHugePages(_ context: CaseContext) throws -> String {
    let before = try number(pool + "/free_hugepages")
    try context.require(before == 80, "L1 has \(before) free huge pages, expected 80")
    var guest = BareMetalGuest("watch", [Address.edu])
    guest.memory = "128M,hugepages=2M,prealloc,node=0"
    guest.options = ["--cpu-pin", "0:1"]
    let watch = try WatchGuest(context, guest)
    // Enable bus mastering, which waits until guest RAM is pinned.
    try watch.child.type("b")
    let command = try watch.state().command
    try context.require(command.hasSuffix("6"), "COMMAND is \(command): memory or bus mastering is off")
    let process = "/proc/\(try watch.child.sluice())"
    let free = try number(pool + "/free_hugepages")
    try context.require(free == before - 64, "\(before - free) of 64 huge pages are populated")
    let maps = try ProcFile.text(process + "/numa_maps").split(separator: "\n")
      .filter { $0.contains(" huge ") }
    try context.require(maps.count == 1 && maps[0].contains(" bind:0 "), "numa_maps has guest RAM as \(maps)")
    let processors = try processors(ofThread: "vcpu0", process)
    try context.require(processors == "1", "vCPU 0 may run on the processors \(processors), expected 1")
    let trace = try watch.finish()
    let pinned = trace.records.filter { $0.event == "dma" && $0.op == "map" && $0.what == "ram" }
    let bytes = pinned.reduce(0) { $0 + ($1.size ?? 0) }
    try context.require(bytes == 128 << 20, "\(bytes) bytes of RAM were pinned, expected \(128 << 20)")
    let after = try number(pool + "/free_hugepages")
    try context.require(after == before, "\(before - after) huge pages were not freed")
    try HostDevice(Address.edu).requireReleased()
    var transfer = BareMetalGuest("edu-dma", [Address.edu])
    (transfer.memory, transfer.options) = (guest.memory, guest.options)
    return "64 huge pages of node 0; \(try transfer.check(context, as: "transfer"))"
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
    throw Failed("Sluice has no thread \(name)")
  }

  /// Starts the guest `vectors`, which uses 16 vectors, under `ulimit OPTIONS`.
  private static func limited(_ context: CaseContext, _ options: String, as label: String) throws -> Child {
    let guest = BareMetalGuest("vectors", [Address.usb], append: "storm=10 rounds=1", cpus: 2)
    return try context.start(
      ["sh", "-c", "ulimit \(options); exec \"$@\"", "sh"] + guest.command(context, as: label), as: label)
  }

  /// Runs a guest that cannot raise its limit of 64 MiB: it has no CAP_SYS_RESOURCE.
  private static func fewLocked(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    // The guest sets Bus Master Enable, which waits for pinned RAM.
    var guest = BareMetalGuest("edu-dma", [Address.edu])
    let isIOMMUFD = FileManager.default.fileExists(atPath: "/dev/iommu")
    guest.options = ["--iommu", isIOMMUFD ? "iommufd" : "type1"]
    let child = try context.start(
      ["sh", "-c", "ulimit -l 65536; exec setpriv --bounding-set -ipc_lock,-sys_resource \"$@\"", "sh"]
        + guest.command(context, as: "guest"), as: "guest")
    let status = try child.wait()
    let owner = isIOMMUFD ? "all processes of this user together" : "this process"
    let message = child.lastMessage
    try context.require(status == 6, "status \(status), expected 6; \(message)")
    for word in ["RLIMIT_MEMLOCK is 65536 KiB for \(owner); set LimitMEMLOCK=", "Cannot allocate memory"] {
      try context.require(message.contains(word), "no '\(word)' in '\(message)'")
    }
    try HostDevice(Address.edu).requireReleased()
    return owner
  }

  private static func fewDescriptors(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let soft = try limited(context, "-S -n 40", as: "soft")
    let process = try soft.sluice()
    var most = 0
    while soft.isRunning {
      // Sluice may exit between the two calls.
      let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
      most = max(most, open ?? 0)
      usleep(20_000)
    }
    let softStatus = try soft.wait()
    if let fault = BareMetalReport(soft.output).fault {
      throw Failed("under a soft limit: \(fault); status \(softStatus); \(soft.lastMessage)")
    }
    // Two vectors have no descriptor. The guest waits five seconds for each.
    try context.require(most > 42, "Sluice opened only \(most) descriptors under a soft limit of 40")
    let hard = try limited(context, "-n \(most - 2)", as: "hard")
    let status = try hard.wait()
    let report = BareMetalReport(hard.output)
    // Status (1 << 1) | 1 means that the guest reached its end and that some of its checks failed.
    try context.require(
      status == 3 && report.promised == report.passed.count + report.skipped.count + report.failed.count,
      "under a hard limit: status \(status), \(report.remark); \(hard.lastMessage)")
    let warnings = hard.errors.split(separator: "\n").filter { $0.contains("stays masked") }
    try context.require(
      warnings.count == 1 && warnings[0].contains(": eventfd: Too many open files"),
      "under a hard limit: the warnings are \(warnings)")
    try HostDevice(Address.usb).requireReleased()
    return String(warnings[0])
  }

  private static func fewMappings(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let limit = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"
    let before = try number(limit)
    try HostDevice.write("24", to: limit)
    let end = Result { try checkFewMappings(context) }
    try HostDevice.write("\(before)", to: limit)
    return try end.get()
  }

  /// Checks a limit of 24 mappings. RAM takes one mapping and edu's BAR takes one. A BAR of 256 MiB therefore
  /// has 16 windows, all of which the guest accesses. The 17th window belongs to a BAR of 256 bytes, which
  /// the guest does not access.
  private static func checkFewMappings(_ context: CaseContext) throws -> String {
    var guest = BareMetalGuest(
      "bar-lazy-open", [Address.sharedMemory, Address.edu], append: "device=1 steps=128")
    // Only type1 limits the number of mappings.
    guest.options = ["--iommu", "type1"]
    let remark = try guest.check(context)
    let said = try String(contentsOf: context.file("guest.err"), encoding: .utf8).split(separator: "\n")
    let refused = said.filter { $0.contains("cannot reach") || $0.contains("stays trapped") }
    try context.require(refused.isEmpty, refused.joined(separator: "; "))
    let device = said.first { $0.hasPrefix("  \(Address.sharedMemory): ") } ?? ""
    try context.require(device.contains("windows opened 16 of 17,"), "the summary has '\(device)'")
    let mapped = try Trace(file: context.file("guest.jsonl")).records.count {
      $0.mappedWindows.first?.device == Address.sharedMemory
    }
    // The 16 windows are mapped one by one, and all by one call after the memory bit was clear.
    try context.require(mapped == 17, "ivshmem's windows have \(mapped) mappings, expected 17")
    return "\(remark); 16 windows"
  }
}
