// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The machine that the loader describes (Xen's `struct hvm_start_info`).
struct Machine {
  /// Guest-physical address, or 0 if the loader passes none.
  let startInfo: UInt64
  let commandLine: CommandLine
  let tables: ACPITables

  private static let magic: UInt32 = 0x336E_C578

  init(startInfo: UInt64) {
    self.startInfo = startInfo
    commandLine = CommandLine(address: mmio_load64(startInfo + 24))
    tables = ACPITables(rsdp: mmio_load64(startInfo + 32))
  }

  /// The machine that runs this guest.
  static var current: Machine { Machine(startInfo: shared_load(SharedWord.startInfo)) }

  /// True if the guest runs directly under QEMU (`emulated=1` on the command line). An unclaimed access then
  /// reads 0, and the devices still answer in D3hot and during a reset.
  var isEmulated: Bool { commandLine.number("emulated") == 1 }

  /// True if the start info has the correct magic number.
  var hasStartInfo: Bool { mmio_load32(startInfo) == Self.magic }

  /// A range of the memory map.
  struct MemoryRange {
    let start: UInt64
    let end: UInt64
    /// 1 for RAM.
    let kind: UInt32
  }

  /// The number of ranges in the memory map. Version 1 of the start info introduced the map.
  var memoryRangeCount: UInt32 { mmio_load32(startInfo + 4) >= 1 ? mmio_load32(startInfo + 48) : 0 }

  func memoryRange(_ index: UInt32) -> MemoryRange {
    let entry = mmio_load64(startInfo + 40) + UInt64(index) * 24
    let start = mmio_load64(entry)
    return MemoryRange(
      start: start, end: start &+ mmio_load64(entry + 8), kind: mmio_load32(entry + 16))
  }

  /// Ends the machine through the debug exit port, with exit status `value << 1 | 1`. A machine without that
  /// port ends by ACPI's soft off.
  static func exit(value: UInt32) -> Never {
    port_store32(0xF4, value)
    current.tables.powerOff()
    while true { halt() }
  }
}

/// Indices of the words that the processors share. Guests use the words from `first` on.
enum SharedWord {
  static let startInfo: UInt32 = 0
  static let first: UInt32 = 1
}

/// Called by boot.S, on the first processor.
@c(guest_main)
func start(startInfo: UInt64) {
  shared_store(SharedWord.startInfo, startInfo)
  // Mask all interrupts of both 8259s.
  port_store8(0x21, 0xFF)
  port_store8(0xA1, 0xFF)
  interrupts_initialize()
  LocalAPIC.enable()
  interrupts_on()
  var report = Report()
  guest(.current, &report)
  report.finish()
}
