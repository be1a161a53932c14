// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux

/// Cases for properties of L1's kernel and processor on which Sluice relies.
enum KernelCases {
  static let all: [Case] = [
    Case(
      "kernel-revoke", "the kernel revokes a BAR's dma-buf when the memory bit goes off", isLong: true,
      needsIOMMUFD: true,
      needsLinux: KernelVersion(6, 19)
    ) { context in
      let files = try [Address.edu, Address.sharedMemory].map { try HostDevice($0).deviceFile() }
      let log = try KernelLog()
      let program = "\(context.manifest.programs)/kernel-revoke"
      let (status, output, errors) = try Command.result([program] + files)
      try Data((output + errors).utf8).write(to: context.file("kernel-revoke.txt"))
      try context.require(status == 0, "status \(status): \(errors.isEmpty ? output : errors)")
      let steps = output.split(separator: "\n").map(String.init)
      try context.require(steps == revoked, "the program printed \(steps), expected \(revoked)")
      // The kernel may merge faults at neighbouring pages into one line.
      let blocked = try log.lines(with: "DMAR: [DMA Write").count
      try context.require(blocked > 0, "no IOMMU fault after the revocation")
      return "\(blocked) lines about IOMMU faults"
    },
    Case("exceptions", "small guest: an exit after a delivered exception reports no event") { context in
      try Tracefs.mount()
      // The type of EXITINTINFO (AMD's manual, volume 2, 15.7.2).
      try Tracefs.write("intr_info & 0x700", to: "events/kvm/kvm_exit/filter")
      try Tracefs.write("", to: "trace", truncating: true)
      try Tracefs.write("1", to: "events/kvm/kvm_exit/enable")
      let remark = Result { try BareMetalGuest("exceptions").check(context) }
      try Tracefs.write("0", to: "events/kvm/kvm_exit/enable")
      try Tracefs.write("0", to: "events/kvm/kvm_exit/filter")
      let stale = staleEvents(try Tracefs.text("trace"))
      try context.require(
        stale.isEmpty,
        "\(stale.count) exits with the type of an event that was delivered: \(stale.first ?? "")")
      return try remark.get()
    },
  ]

  /// Returns the lines of the event `kvm_exit` whose field for an interrupted event is not valid (bit 31) and
  /// still has a type.
  static func staleEvents(_ trace: String) -> [String] {
    trace.split(separator: "\n").map(String.init).filter { line in
      guard let digits = line.firstMatch(of: #/ intr_info 0x([0-9a-f]+)/#)?.1,
        let info = UInt32(digits, radix: 16)
      else { return false }
      return info & 1 << 31 == 0 && info & 0x700 != 0
    }
  }

  private static let revoked = [
    "memory on: written", "memory off: unchanged", "memory on again: unchanged", "mapped again: written",
  ]
}
