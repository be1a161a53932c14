// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases with the small guests of `Guests/`. A case that shows one feature has the name of its guest.
enum BareMetalCases {
  static let all: [Case] = [
    Case("hello", "small guest: console, memory map, 4 processors and exit status") { context in
      try BareMetalGuest("hello", append: "processors=4", cpus: 4).check(context)
    },
    Case("multiboot", "small guest: multiboot kernels start, as an ELF file and as a flat file") { context in
      try multiboot(context)
    },
    Case("guest-ends", "each kind of guest shutdown has its own exit status", limit: 90) { context in
      try ends(context)
    },
    Case("pci-enumeration", "small guest: enumerates the PCI bus without firmware") { context in
      let devices = [Address.edu, Address.bigDrive, Address.sharedMemory, Address.usb]
      // The host bridge is a function too.
      let append = context.vmm == "sluice" ? "functions=\(devices.count + 1)" : ""
      return try BareMetalGuest("pci-enumeration", devices, append: append).check(context)
    },
    Case("bar-lazy-open", "small guest: the windows of five devices open at their first access", limit: 150) {
      context in
      let devices = [Address.sharedMemory, Address.edu, Address.bigDrive, Address.network, Address.usb]
      let remarks = try devices.map { device in
        try BareMetalGuest("bar-lazy-open", [device]).check(context, as: "guest-\(device)")
      }
      return remarks.joined(separator: "; ")
    },
    memoryEnable("memory-enable", Address.edu, toggles: 500, limit: 180),
    memoryEnable("memory-enable-ivshmem", Address.sharedMemory, toggles: 100, limit: 180),
    memoryEnable("memory-enable-10000", Address.edu, toggles: 10_000, limit: 900, isLong: true),
    memoryEnable("memory-enable-ivshmem-1000", Address.sharedMemory, toggles: 1000, limit: 480, isLong: true),
    Case("msix", "small guest: MSI-X interrupts arrive; masked vectors stay pending") { context in
      try BareMetalGuest("msix", [Address.bigDrive], cpus: 2).check(context)
    },
    Case(
      "many-processors", "small guest: each of 16 and of 64 vCPUs routes a vector, with a trace", limit: 240
    ) { context in
      try [16, 64].map { try manyProcessors($0, context) }.joined(separator: "; ")
    },
    Case("edu-dma", "small guest: DMA to and from guest RAM") { context in
      try BareMetalGuest("edu-dma", [Address.edu]).check(context)
    },
  ]

  /// Runs the guest with a number of vCPUs. Each vCPU thread allocates memory for the route and for the trace
  /// under its seccomp filter.
  private static func manyProcessors(_ count: Int, _ context: CaseContext) throws -> String {
    let label = "guest-\(count)"
    let guest = BareMetalGuest(
      "many-processors", [Address.bigDrive], append: "processors=\(count)", cpus: count)
    let remark = try guest.check(context, as: label)
    guard context.vmm == "sluice" else { return remark }
    let trace = try Trace(file: context.file("\(label).jsonl"))
    let records = trace.records.count { $0.event == "vector" }
    try context.require(
      records >= count * 20, "the trace has \(records) vector records for \(count) vectors, expected 20 each")
    return "\(remark), \(records) vector records"
  }

  private static func memoryEnable(
    _ name: String, _ device: String, toggles: Int, limit: Int, isLong: Bool = false
  ) -> Case {
    Case(
      name, "\(toggles) toggles of the memory bit while another vCPU reads; QEMU runs the same", limit: limit,
      isLong: isLong
    ) { context in
      let (guest, remark) = try toggle(device, toggles, context)
      guard context.vmm == "sluice" else { return remark }
      context.note("the same guest and device under QEMU: \(try guest.remarkUnderQEMU(context))")
      return remark
    }
  }

  /// Runs the guest `memory-enable`, and checks the trace under Sluice. Returns a remark.
  static func toggle(_ device: String, _ toggles: Int, append: String = "", _ context: CaseContext) throws
    -> (guest: BareMetalGuest, remark: String)
  {
    let guest = BareMetalGuest("memory-enable", [device], append: "toggles=\(toggles) \(append)", cpus: 2)
    let remark = try guest.check(context)
    // The guest skips a device without a register whose value is constant.
    guard context.vmm == "sluice", !remark.contains("not checked") else { return (guest, remark) }
    return (guest, "\(remark); \(try closingOrder(context, toggles: toggles))")
  }

  /// Checks with the trace that no window is mapped when COMMAND clears the memory bit.
  private static func closingOrder(_ context: CaseContext, toggles: Int) throws -> String {
    let trace = try Trace(file: context.file("guest.jsonl"))
    let faults = trace.violationsOfStarting() + trace.violationsOfClosing() + trace.violationsOfLaziness()
    try context.require(faults.isEmpty, "\(faults.count) faults: " + faults.prefix(3).joined(separator: "; "))
    try context.require(
      trace.clearingWrites >= toggles, "only \(trace.clearingWrites) writes cleared the memory bit")
    return "\(trace.clearingWrites) writes clear the memory bit, \(trace.records.count) records"
  }

  /// Checks that each kernel file sees the memory sizes, its command line and its module.
  private static func multiboot(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let module = context.file("module")
    try Data("one line".utf8).write(to: module)
    let expected = ["memory 639 + 64512 KiB", "modules 1 one line", "ranges 4", "done"]
    for suffix in ["elf", "bin"] {
      let kernel = "\(context.manifest.guests)/multiboot.\(suffix)"
      let child = try context.start(
        [
          context.manifest.sluice, "run", "--kernel", kernel, "--initrd", module.path, "--append", "a b",
          "--memory", "64M", "--debug-exit",
        ], as: suffix)
      let status = try child.wait(within: 20)
      let lines = child.output.split(whereSeparator: \.isNewline).map(String.init)
      let line = "command line \(kernel) a b"
      try context.require(
        status == 1 && lines == [expected[0], line] + expected[1...],
        "\(suffix): status \(status), \(lines); \(child.lastMessage)")
    }
    return "2 files"
  }

  private static func ends(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let expected: [(String, Int32)] = [
      ("end=exit", 1), ("status=1", 3), ("end=poweroff", 0), ("end=reset", 8), ("end=panic", 4),
      ("end=triple-fault", 10),
    ]
    var faults: [String] = []
    for (append, status) in expected {
      let guest = BareMetalGuest("hello", append: append)
      let child = try context.start(guest.command(context, as: append), as: append)
      let got = try child.wait(within: 20)
      if got != status { faults.append("\(append): status \(got), expected \(status): \(child.lastMessage)") }
    }
    try context.require(faults.isEmpty, faults.joined(separator: "; "))
    return "\(expected.count) kinds of shutdown"
  }
}
