// SPDX-License-Identifier: Apache-2.0

// Shows that an expansion ROM has its signature, reads the same each time and in every width, answers only
// while the ROM and memory are enabled, and ignores writes. Run by the lab case `expansion-rom`, which
// compares the checksum with the ROM on the host.
//
// Command line: `device=slot`, else the first endpoint with a ROM; `emulated=1` directly under QEMU.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let found = PCIBus.find(machine.commandLine, where: { ROM($0) != nil })
  guard let function = found, let rom = ROM(function) else {
    report.check(false, "a function with a ROM is present")
    return
  }
  report.note("\(function) ROM at \(hex: rom.address, digits: 8) size \(hex: rom.size)")
  report.check(rom.address != 0 && rom.address & (rom.size - 1) == 0, "the ROM has an aligned address")
  function.setCommand(PCIFunction.Command.memory, true)
  rom.enable(false)
  let closed: UInt32 = machine.isEmulated ? 0 : .max
  report.check(!rom.isEnabled && mmio_load32(rom.address) == closed, "disabled: reads \(hex: closed)")
  rom.enable(true)
  report.check(rom.isEnabled, "the enable bit is set")
  let first = mmio_load32(rom.address)
  report.check(first & 0xFFFF == 0xAA55, "signature 55 aa: \(hex: first, digits: 8)")
  checkImage(rom, &report)
  checkWidths(rom, &report)

  let checksum = rom.checksum
  report.note("checksum \(hex: checksum, digits: 8) of \(rom.size) bytes")
  for offset in stride(from: UInt64(0), to: rom.size, by: 1024) { mmio_store32(rom.address + offset, 0x55AA) }
  report.equal(rom.checksum, checksum, "writes do not change the ROM")

  function.setCommand(PCIFunction.Command.memory, false)
  report.equal(mmio_load32(rom.address), closed, "memory off: the read is unclaimed")
  report.check(rom.isEnabled, "memory off: the enable bit is still set")
  function.setCommand(PCIFunction.Command.memory, true)
  report.equal(mmio_load32(rom.address), first, "memory on again: the ROM answers")
  rom.enable(false)
  report.equal(mmio_load32(rom.address), closed, "disabled again: the read is unclaimed")
}

/// Checks that the first image has a PCI data structure, which fits in the ROM.
private func checkImage(_ rom: ROM, _ report: inout Report) {
  let structure = UInt64(mmio_load16(rom.address + 0x18))
  report.check(
    structure > 0 && structure + 0x18 <= rom.size && mmio_load32(rom.address + structure) == 0x5249_4350,
    "the PCI data structure is at \(hex: structure)")
}

private func checkWidths(_ rom: ROM, _ report: inout Report) {
  var different: UInt32 = 0
  for offset in stride(from: UInt64(0), to: 512, by: 8) {
    let address = rom.address + offset
    let whole = mmio_load64(address)
    if UInt64(mmio_load32(address + 4)) != whole >> 32 { different += 1 }
    if UInt64(mmio_load16(address + 2)) != whole >> 16 & 0xFFFF { different += 1 }
    if UInt64(mmio_load8(address + 7)) != whole >> 56 { different += 1 }
  }
  report.check(different == 0, "\(different) differences between access widths")
}
