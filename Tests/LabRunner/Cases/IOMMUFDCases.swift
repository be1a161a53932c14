// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// Cases for iommufd and the VFIO device files of L1's kernel.
enum IOMMUFDCases {
  static let all: [Case] = [
    Case(
      "iommufd-devices", "every device of vfio-pci has a device file, and maps memory through iommufd",
      limit: 120, needsIOMMUFD: true
    ) { context in
      try requireCharacterDevice("/dev/iommu", nil)
      try requireCharacterDevice("/dev/vfio/vfio", nil)
      let addresses = try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/drivers/vfio-pci")
        .filter { $0.hasPrefix("0000:") }.sorted()
      let missing = Address.assignable.filter { !addresses.contains($0) }
      try context.require(missing.isEmpty, "not bound to vfio-pci: \(missing.joined(separator: " "))")
      for address in addresses {
        let report = try probe(address, context)
        if address == Address.bigDrive { context.note("\(address)\n" + report) }
      }
      return "\(addresses.count) devices"
    },
    Case("iommufd-nvme", "Debian's driver reads an NVMe drive through iommufd", limit: 90, needsIOMMUFD: true)
    {
      context in
      var guest = LinuxGuest(
        devices: [Address.bigDrive], steps: ["nvme-sha256", "nvme-reset", "nvme-sha256"])
      guest.options = ["--iommu", "iommufd"]
      _ = try guest.run(context)
      let trace = try Trace(file: context.file("trace.jsonl"))
      try require("iommufd", in: trace, context)
      let faults = trace.violationsOfClosing()
      try context.require(faults.isEmpty, faults.prefix(3).joined(separator: "; "))
      let pinned = trace.records.count { $0.event == "dma" && $0.op == "map" }
      let unpinned = trace.records.count { $0.event == "dma" && $0.op == "unmap" }
      try context.require(
        pinned > 0 && unpinned > 0, "\(pinned) pieces of RAM were pinned, \(unpinned) unpinned")
      return "\(pinned) pieces of RAM pinned"
    },
    Case(
      "iommufd-bus-reset", "two functions that only a hot reset resets, owned by the iommufd", limit: 90,
      needsIOMMUFD: true
    ) { context in
      let watch = try WatchGuest(context, Address.pair.map { "\($0),peer-dma=off" })
      let trace = try watch.finish()
      try require("iommufd", in: trace, context)
      let resets = trace.records.filter { $0.event == "reset" }
      for why in ["start", "hand-back"] {
        try context.require(
          resets.contains { $0.why == why && $0.method == "bus" },
          "the trace has no bus reset with the reason '\(why)'")
      }
      return "\(resets.count) bus resets"
    },
    Case(
      "iommufd-peers", "peer DMA: iommufd maps BARs from Linux 6.19 on; before that, 'auto' takes type1",
      limit: 120, needsIOMMUFD: true
    ) { context in
      let mapsBARs = L1Runner.isAtLeast(dmaBuffers)
      for (option, interface, warnings) in [
        ("auto", mapsBARs ? "iommufd" : "type1", 0), ("iommufd", "iommufd", mapsBARs ? 0 : 1),
        ("type1", "type1", 0),
      ] {
        var guest = BareMetalGuest("watch", [Address.edu, Address.sharedMemory], append: "strange=0")
        guest.options = ["--iommu", option]
        let watch = try WatchGuest(context, guest, as: option)
        let trace = try watch.finish()
        try require(interface, in: trace, context)
        let said = watch.child.errors.split(separator: "\n").count { $0.contains("peer DMA is off") }
        try context.require(said == warnings, "\(option): \(said) warnings, expected \(warnings)")
        let mapped = trace.records.count { !$0.mappedWindows.isEmpty }
        try context.require((mapped == 0) == (warnings == 1), "\(option): \(mapped) mappings of BARs")
      }
      return mapsBARs ? "iommufd maps BARs" : "type1 maps BARs"
    },
    Case(
      "iommufd-toggles",
      "edu's DMA reaches ivshmem in each of 100 open phases, and faults in each closed phase",
      limit: 420, isLong: true, needsIOMMUFD: true, needsLinux: dmaBuffers
    ) { try toggles(100, $0) },
  ]

  /// The first version of Linux in which iommufd maps BARs, as dma-bufs.
  static let dmaBuffers = KernelVersion(6, 19)

  /// True if devices reach the BARs of other devices in the L1 of a case.
  static func mapsBARs(_ context: CaseContext) -> Bool {
    context.manifest.iommuOption.isEmpty || L1Runner.isAtLeast(dmaBuffers)
  }

  /// Turns the memory of the peer off and on. Checks the data of each open phase and the fault of each closed phase, and
  /// compares the time of a reopening with the time of a VM without peer DMA.
  private static func toggles(_ count: Int, _ context: CaseContext) throws -> String {
    // The kernel logs at most three of these faults in 5 s (drivers/iommu/intel/dmar.c, dmar_fault).
    let log = try PeerCases.faults()
    var guest = BareMetalGuest(
      "peer-dma", [Address.edu, Address.sharedMemory], append: "cycles=\(count) armed=0 spacing=1700")
    guest.options = ["--iommu", "iommufd"]
    let remark = try guest.check(context)
    let faults = try PeerCases.requireFaults(of: context.file("guest.log"), besides: log)
    try context.require(
      faults > count, "\(faults) addresses with a fault, expected more than \(count)")
    let trace = try Trace(file: context.file("guest.jsonl"))
    try require("iommufd", in: trace, context)
    let errors = try String(contentsOf: context.file("guest.err"), encoding: .utf8)
    let warnings = errors.split(separator: "\n").filter {
      $0.contains("warning") && !$0.contains("no reset is available")
    }
    try context.require(warnings.isEmpty, "\(warnings.prefix(2))")
    let times = trace.records.filter { !$0.mappedWindows.isEmpty }.compactMap(\.microseconds).sorted()
    try context.require(times.count > count, "\(times.count) mappings of BARs")
    return "\(remark); \(faults) IOMMU faults; \(times.count) mappings of "
      + "\(times[0]), \(times[times.count / 2]), \(times[times.count - 1]) µs (minimum, median, maximum)"
  }

  /// Checks the interface to the IOMMU that a trace names.
  private static func require(_ interface: String, in trace: Trace, _ context: CaseContext) throws {
    let used = trace.records.filter { $0.event == "iommu" }.map { $0.interface ?? "none" }
    try context.require(used == [interface], "the trace has the interfaces \(used), expected \(interface)")
  }

  /// Checks the device's group and device file, and runs `iommufd-probe` with the device file.
  ///
  /// - Returns: The output of the program.
  private static func probe(_ address: String, _ context: CaseContext) throws -> String {
    let device = HostDevice(address)
    guard let group = device.group else { throw Failed("\(address): no IOMMU group") }
    try requireCharacterDevice("/dev/vfio/\(group)", nil)
    let path = try device.deviceFile()
    let name = URL(filePath: path).lastPathComponent
    let number = try ProcFile.text("/sys/bus/pci/devices/\(address)/vfio-dev/\(name)/dev")
      .trimmingCharacters(in: .newlines)
    try requireCharacterDevice(path, number)
    let (status, output, errors) = try Command.result(["\(context.manifest.programs)/iommufd-probe", path])
    try Data((output + errors).utf8).write(to: context.file("\(address).txt"))
    try context.require(
      status == 0, "\(address): iommufd-probe: status \(status): \(errors.isEmpty ? output : errors)")
    let done = output.split(separator: "\n").compactMap { $0.split(separator: ":").first.map(String.init) }
    try context.require(done == steps, "\(address): iommufd-probe printed \(done), expected \(steps)")
    try device.requireReleased()
    return output
  }

  /// The steps that `iommufd-probe` prints.
  private static let steps = [
    "open", "BIND_IOMMUFD", "IOAS_ALLOC", "ATTACH_IOMMUFD_PT", "IOAS_IOVA_RANGES", "IOAS_MAP", "IOAS_UNMAP",
  ]

  /// Checks that a path is a character device.
  ///
  /// - Parameter number: The device number as in sysfs, `major:minor`, or nil if any number is correct.
  private static func requireCharacterDevice(_ path: String, _ number: String?) throws {
    let found = try Command.result(["stat", "--format", "%F %Hr:%Lr", path])
    guard found.status == 0 else { throw Failed("\(path): \(found.errors)") }
    let words = found.output.trimmingCharacters(in: .newlines)
    guard words.hasPrefix("character special file "), number.map({ words.hasSuffix(" \($0)") }) ?? true else {
      throw Failed("\(path): is a \(words), expected a character device \(number ?? "")")
    }
  }
}
