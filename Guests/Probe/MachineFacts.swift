// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The memory map, the ACPI tables and CPUID.
struct MachineFacts {
  let machine: Machine

  func write() {
    for index in 0..<machine.memoryRangeCount {
      let range = machine.memoryRange(index)
      Console.print("memory.\(index) = \(hex: range.start)-\(hex: range.end) kind \(range.kind)")
    }
    var index: UInt32 = 0
    machine.tables.forEachTable { table in
      Console.print(
        "acpi.\(hex: mmio_load32(table), digits: 8) = revision \(mmio_load8(table + 8)) sum \(ACPITables.sum(table))"
      )
      index += 1
    }
    Console.print("acpi.tables = \(index)")
    for base in [UInt32(0), 0x4000_0000, 0x8000_0000] { writeLeaves(from: base) }
  }

  private func writeLeaves(from base: UInt32) {
    let last = cpuid_eax(base)
    guard last >= base, last - base < 0x100 else { return }
    for leaf in base...last {
      writeLeaf(leaf, 0)
      // Leaves with subleaves.
      guard leaf == 4 || leaf == 7 || leaf == 0xB || leaf == 0xD else { continue }
      for part in UInt32(1)..<4 { writeLeaf(leaf, part) }
    }
  }

  private func writeLeaf(_ leaf: UInt32, _ part: UInt32) {
    var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    unsafe cpuid_all(leaf, part, &words.0, &words.1, &words.2, &words.3)
    Console.print(
      """
      cpuid.\(hex: leaf, digits: 8).\(part) = \(hex: words.0, digits: 8) \(hex: words.1, digits: 8) \
      \(hex: words.2, digits: 8) \(hex: words.3, digits: 8)
      """)
  }
}
