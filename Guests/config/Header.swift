// SPDX-License-Identifier: Apache-2.0

import Hardware

extension Space {
  private var commandPlace: UInt64 { ecam + UInt64(PCIFunction.Register.command) }

  /// Checks each bit of COMMAND separately, in words and bytes, through ports and ECAM (PCIe 6.0 §7.5.1.1.3).
  func checkCommand(_ report: inout Report) {
    let reserved: UInt16 = 0xF800 | 1 << 7
    var wrong: (others: UInt32, reserved: UInt32, modes: UInt32, cleared: UInt32, status: UInt32) = (
      0, 0, 0, 0, 0
    )
    let status = function.status & ~PCIFunction.Status.interrupt
    for bit in UInt16(0)..<16 {
      function.store16(PCIFunction.Register.command, 0)
      let base = function.command
      function.store16(PCIFunction.Register.command, 1 << bit)
      let now = function.command
      if now & ~(base | 1 << bit) != 0 { wrong.others += 1 }
      if now & reserved != 0 { wrong.reserved += 1 }
      if mmio_load16(commandPlace) != now { wrong.modes += 1 }
      if function.status & ~PCIFunction.Status.interrupt != status { wrong.status += 1 }
      mmio_store16(commandPlace, 0)
      if function.command != base { wrong.cleared += 1 }
      // Repeat through the ECAM, with the byte only.
      mmio_store8(commandPlace + UInt64(bit / 8), 1 << UInt8(bit % 8))
      if function.command != now { wrong.modes += 1 }
      function.store8(PCIFunction.Register.command + bit / 8, 0)
      if mmio_load16(commandPlace) != base { wrong.modes += 1 }
    }
    report.check(wrong.others == 0, "COMMAND: \(wrong.others) bits also set other bits")
    report.check(wrong.reserved == 0, "COMMAND: \(wrong.reserved) reserved bits can be set")
    report.check(wrong.modes == 0, "COMMAND: \(wrong.modes) differences between words, bytes, ports and ECAM")
    report.check(wrong.cleared == 0, "COMMAND: \(wrong.cleared) bits stay set")
    report.check(wrong.status == 0, "STATUS changed \(wrong.status) times with COMMAND")
    checkNeededBits(&report)
  }

  /// Checks the bits that drivers need.
  private func checkNeededBits(_ report: inout Report) {
    var hasMemory = false
    BAR.forEach(function) { bar in if bar.isMemory { hasMemory = true } }
    var needed = PCIFunction.Command.busMaster
    if hasMemory { needed |= PCIFunction.Command.memory }
    if function.load8(PCIFunction.Register.interruptPin) != 0 {
      needed |= PCIFunction.Command.interruptDisable
    }
    function.store16(PCIFunction.Register.command, needed)
    report.check(function.command & needed == needed, "COMMAND keeps \(hex: needed, digits: 4)")
    function.store16(PCIFunction.Register.command, 0)
    report.equal(function.command & needed, 0, "COMMAND clears these bits")
  }

  /// Checks that a write of 1 clears error bits of STATUS, and that all other bits are read-only (PCIe 6.0
  /// §7.5.1.1.4).
  func checkStatus(_ report: inout Report) {
    let clearable: UInt16 = 0xF900
    let before = function.status
    function.store16(PCIFunction.Register.status, 0)
    report.equal(function.status, before, "STATUS: writing 0 changes nothing")
    function.store16(PCIFunction.Register.status, .max)
    let after = function.status
    report.check(after & clearable == 0, "STATUS: writing 1 clears error bits: \(hex: after, digits: 4)")
    report.equal(after & ~clearable, before & ~clearable, "STATUS: other bits are read-only")
    // A single write of both registers applies each half to its register.
    function.store32(PCIFunction.Register.command, UInt32(PCIFunction.Command.busMaster))
    report.check(
      function.command == PCIFunction.Command.busMaster
        && function.status & ~clearable == before & ~clearable,
      "one write sets COMMAND and keeps the read-only bits of STATUS")
    function.store16(PCIFunction.Register.command, 0)
  }

  /// Checks the BARs. A size is a power of two, and is the same with memory on and off. The type bits are
  /// read-only. Unimplemented BARs read 0.
  func checkBARs(_ report: inout Report) {
    var faults: UInt32 = 0
    var count: UInt32 = 0
    var index: UInt64 = 0
    while index < 6 {
      let address = ecam + UInt64(PCIFunction.Register.firstBAR) + index * 4
      let off = size(address)
      function.store16(PCIFunction.Register.command, PCIFunction.Command.memory | PCIFunction.Command.io)
      let on = size(address)
      function.store16(PCIFunction.Register.command, 0)
      if on != off {
        faults += 1
        report.note("BAR \(index): mask \(hex: off.mask) with memory off, \(hex: on.mask) with memory on")
      }
      index += 1
      guard off.mask != 0 else { continue }
      count += 1
      let isPort = off.kind & 1 != 0
      let bytes = ~(off.mask & (isPort ? ~0b11 : ~0xF)) &+ 1
      let width: UInt64 = isPort && bytes >> 16 != 0 ? bytes & 0xFFFF : bytes
      if width & (width &- 1) != 0 || width == 0 {
        faults += 1
        report.note("BAR \(index - 1): size \(hex: width)")
      }
      if !isPort, off.kind & 0b110 == 0b100 { index += 1 }
    }
    let rom = ecam + UInt64(PCIFunction.Register.rom)
    let saved = mmio_load32(rom)
    mmio_store32(rom, .max & ~1)
    let mask = mmio_load32(rom)
    mmio_store32(rom, saved)
    if mask & 0x7FE != 0 || mmio_load32(rom) != saved || (~mask &+ 1) & ~mask != 0 {
      faults += 1
      report.note("ROM: register \(hex: saved) reads \(hex: mask) after all-ones")
    }
    report.check(faults == 0, "\(count) BARs\(mask != 0 ? " and a ROM" : ""), \(faults) faults")
  }

  /// Returns a BAR's type bits and the value that it reads after a write of all-ones. A 64-bit BAR includes
  /// its upper half.
  private func size(_ address: UInt64) -> (mask: UInt64, kind: UInt32) {
    let low = mmio_load32(address)
    mmio_store32(address, .max)
    let ones = mmio_load32(address)
    mmio_store32(address, 0)
    let zeros = mmio_load32(address)
    let kind = low & (low & 1 != 0 ? 0b11 : 0xF)
    var mask = UInt64(ones) | 0xFFFF_FFFF_0000_0000
    if kind & 0b111 == 0b100 {
      let high = mmio_load32(address + 4)
      mmio_store32(address + 4, .max)
      mask = UInt64(mmio_load32(address + 4)) << 32 | UInt64(ones)
      mmio_store32(address + 4, high)
    }
    mmio_store32(address, low)
    let isSupported = ones != 0
    let keepsKind =
      zeros == kind && ones & (kind & 1 != 0 ? 0b11 : 0xF) == kind && mmio_load32(address) == low
    return (isSupported && keepsKind ? mask : isSupported ? 3 : 0, kind)
  }
}
