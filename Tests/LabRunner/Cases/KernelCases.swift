// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for properties of L1's kernel on which Sluice relies. Sluice does not run in them.
enum KernelCases {
  static let all: [Case] = [
    Case(
      "kernel-revoke", "the kernel revokes a BAR's dma-buf when the memory bit goes off", isLong: true,
      needsIOMMUFD: true,
      needsLinux: LinuxVersion(6, 19)
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
    }
  ]

  private static let revoked = [
    "memory on: written", "memory off: unchanged", "memory on again: unchanged", "mapped again: written",
  ]
}
