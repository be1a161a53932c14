// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The machine as the loader describes it (Xen's `struct hvm_start_info`).
struct Machine {
  /// Guest-physical addresses; 0 where the loader gives none.
  let startInfo: UInt64
  let commandLine: CommandLine
  let tables: ACPITables

  private static let magic: UInt32 = 0x336E_C578

  init(startInfo: UInt64) {
    self.startInfo = startInfo
    commandLine = CommandLine(address: mmio_load64(startInfo + 24))
    tables = ACPITables(rsdp: mmio_load64(startInfo + 32))
  }

  /// The machine that this program runs on.
  static var current: Machine { Machine(startInfo: shared_load(SharedWord.startInfo)) }

  /// Whether the command line says that the devices are QEMU's own (`emulated=1`): they read 0 where
  /// nothing answers, and go on answering in D3hot and during a reset.
  var isEmulated: Bool { commandLine.number("emulated") == 1 }

  /// Whether the start info is one.
  var hasStartInfo: Bool { mmio_load32(startInfo) == Self.magic }

  /// One range of the memory map.
  struct MemoryRange {
    let start: UInt64
    let end: UInt64
    /// 1 for RAM.
    let kind: UInt32
  }

  /// Ranges in the memory map; it came with version 1.
  var memoryRangeCount: UInt32 { mmio_load32(startInfo + 4) >= 1 ? mmio_load32(startInfo + 48) : 0 }

  func memoryRange(_ index: UInt32) -> MemoryRange {
    let entry = mmio_load64(startInfo + 40) + UInt64(index) * 24
    let start = mmio_load64(entry)
    return MemoryRange(
      start: start, end: start &+ mmio_load64(entry + 8), kind: mmio_load32(entry + 16))
  }

  /// Ends the machine: by the debug exit port, which makes the exit status `value << 1 | 1`, or
  /// where there is none by ACPI's soft off.
  static func exit(value: UInt32) -> Never {
    port_store32(0xF4, value)
    current.tables.powerOff()
    while true { halt() }
  }
}

/// The words that the processors share; a guest has those from `first` on for itself.
enum SharedWord {
  static let startInfo: UInt32 = 0
  static let first: UInt32 = 1
}

/// Called by boot.S, on the first processor.
@c(guest_main)
func start(startInfo: UInt64) {
  shared_store(SharedWord.startInfo, startInfo)
  // No 8259 interrupts us.
  port_store8(0x21, 0xFF)
  port_store8(0xA1, 0xFF)
  interrupts_initialize()
  LocalAPIC.enable()
  interrupts_on()
  var report = Report()
  guest(.current, &report)
  report.finish()
}
