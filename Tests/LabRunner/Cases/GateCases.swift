// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for the gate, interrupts, resets and configuration space, each with one small guest.
enum GateCases {
  static let all: [Case] = [
    Case("intx", "small guest: INTx, a shared input, switches to MSI and MSI-X and back", limit: 90) {
      context in
      try BareMetalGuest("intx", line, append: context.vmm == "sluice" ? "input=17 shared=1" : "").check(
        context)
    },
    Case("msi", "small guest: 1 and 16 MSI vectors, changed while enabled") { context in
      try BareMetalGuest("msi", [Address.edu, Address.messageUSB], cpus: 2).check(context)
    },
    Case("vectors", "small guest: many MSI-X vectors, pending bits, 10,000 masks and unmasks", limit: 120) {
      context in
      let remark = try BareMetalGuest("vectors", [Address.usb], cpus: 2).check(context)
      guard context.vmm == "sluice" else { return remark }
      return "\(remark); \(try besideTable(context))"
    },
    Case("reset", "small guest: FLR, D3hot and D0 on NVMe and e1000e", limit: 90) { context in
      let remark = try BareMetalGuest("reset", [Address.bigDrive, Address.network], cpus: 2).check(context)
      guard context.vmm == "sluice" else { return remark }
      return "\(remark); \(try resets(context))"
    },
    Case("config", "small guest: all of configuration space, on every device", limit: 90) {
      context in
      let append = context.vmm == "sluice" ? "functions=\(everything.count)" : ""
      return try BareMetalGuest("config", everything, append: append).check(context)
    },
    Case("bars", "small guest: BARs are sized, moved, and placed over each other and over RAM", limit: 120) {
      context in
      let devices = [Address.edu, Address.sharedMemory, Address.network, Address.bigDrive]
      return try BareMetalGuest("bars", devices).check(context)
    },
    Case("expansion-rom", "small guest: the expansion ROM equals the ROM file on the host") { context in
      let remark = try BareMetalGuest("expansion-rom", [Address.network]).check(context)
      return "\(remark); \(try sameROM(context))"
    },
  ]

  /// Every function that a case can pass through, each once.
  private static let everything = Address.assignable + [Address.virtualFunction]

  /// Devices with edu in slot 1 and e1000e in slot 9. Both use I/O APIC input 17, because the swizzle has
  /// eight inputs.
  private static var line: [String] {
    let others = Address.assignable.filter { $0 != Address.edu && $0 != Address.network }
    return [Address.edu] + others.prefix(7) + [Address.network]
  }

  /// Checks that windows beside the vector table opened. The page of the table itself stays trapped.
  private static func besideTable(_ context: CaseContext) throws -> String {
    let trace = try Trace(file: context.file("guest.jsonl"))
    let opened = trace.openedWindows
    try context.require(!opened.isEmpty, "no window beside the vector table was opened")
    return "\(opened.count) windows beside the table"
  }

  /// Checks with the trace that every reset happened, and that no window is mapped when COMMAND clears the
  /// memory bit.
  private static func resets(_ context: CaseContext) throws -> String {
    let trace = try Trace(file: context.file("guest.jsonl"))
    let faults = trace.violationsOfClosing()
    try context.require(faults.isEmpty, faults.prefix(3).joined(separator: "; "))
    let flr = trace.records.count { $0.event == "reset" && $0.why == "flr" }
    let power = trace.records.count { $0.event == "reset" && $0.why == "power" }
    try context.require(
      flr == 6 && power == 3, "\(flr) resets by FLR, 6 expected; \(power) by power, 3 expected")
    return "\(flr) FLR, \(power) by D3hot"
  }

  /// Checks that the guest's checksum is the checksum of the ROM file that QEMU gave the device.
  private static func sameROM(_ context: CaseContext) throws -> String {
    let lines = try String(contentsOf: context.file("guest.log"), encoding: .utf8).split(
      whereSeparator: \.isNewline)
    guard let line = lines.first(where: { $0.hasPrefix("# checksum ") }) else {
      throw Failed("the guest printed no checksum")
    }
    let words = line.split(separator: " ")
    let bytes = try Data(contentsOf: URL(filePath: "/usr/lib/ipxe/qemu/efi-e1000e.rom"))
    guard words.count > 4, let size = Int(words[4]), size >= bytes.count else {
      throw Failed("the guest printed '\(line)'")
    }
    // The size of the BAR is a power of two. The bytes behind the file read as 0 for the first sum and as
    // all-ones for the second.
    let sums = [UInt8(0), 0xFF].map { filler in
      (bytes + Data(repeating: filler, count: size - bytes.count)).reduce(UInt32(0)) {
        $0 &* 31 &+ UInt32($1)
      }
    }
    let got = UInt32(words[2], radix: 16)
    try context.require(sums.contains { $0 == got }, "the guest's checksum is \(words[2])")
    return "the \(bytes.count) bytes of efi-e1000e.rom"
  }
}
