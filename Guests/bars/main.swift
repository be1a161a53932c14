// SPDX-License-Identifier: Apache-2.0

// Shows that a guest can size and move BARs with memory on and off, above 4 GiB if they have 64 bits, over
// each other and over RAM. A BAR smaller than a page works at any offset in a page. I/O BARs work at any
// address. Run by the lab case `bars`. Needs devices that `Probe` knows; ivshmem has the small BAR and e1000e
// the I/O BAR.
//
// Command line: `moves=N` (20) is the number of moves of each kind; `emulated=1` directly under QEMU.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  var tested: UInt32 = 0
  var first: Probe?
  for slot in UInt8(1)..<32 {
    let function = PCIFunction(slot: slot, function: 0)
    guard function.isPresent, function.isEndpoint, let found = Probe.of(function) else { continue }
    function.setCommand(PCIFunction.Command.memory, true)
    if found.isMemory { mmio_store32(found.bar.address + found.constant, 0x5EA1_ED00 | UInt32(slot)) }
    report.note("\(function) \(found.bar)")
    checkSizing(found, &report)
    checkMoves(found, machine.commandLine.number("moves") ?? 20, &report)
    checkOverRAM(found, &report)
    if let other = first {
      checkOverlap(other, found, &report)
    } else {
      first = found
    }
    tested += 1
  }
  report.check(tested > 0, "\(tested) devices tested")
  checkSmall(&report)
  checkPorts(&report)
}

/// The value of an unclaimed read.
var nothing: UInt32 { Machine.current.isEmulated ? 0 : .max }

/// Checks that sizing gives the same size with memory on and off, and leaves the device at its address.
private func checkSizing(_ probe: Probe, _ report: inout Report) {
  let value = probe.value
  let on = sizing(probe.function, probe.bar)
  report.equal(probe.value, value, "sizing with memory on: the device answers as before")
  probe.setMemory(false)
  let off = sizing(probe.function, probe.bar)
  probe.setMemory(true)
  report.check(on == off && ~on &+ 1 == probe.bar.size, "size \(hex: ~on &+ 1) with memory on and off")
  report.equal(probe.value, value, "sizing with memory off: the device answers as before")
}

/// Moves a BAR to another address and back, with memory on and off, below and above 4 GiB.
private func checkMoves(_ probe: Probe, _ moves: UInt64, _ report: inout Report) {
  let value = probe.value
  let size = probe.bar.size
  for above in [false, true] where probe.bar.is64Bit || !above {
    guard let target = Placement.find(size: size, above4GiB: above) else {
      report.skip("no free range of \(hex: size) bytes \(above ? "above" : "below") 4 GiB")
      continue
    }
    var wrong: (new: UInt64, old: UInt64, back: UInt64) = (0, 0, 0)
    for move in 0..<moves {
      let staysOn = move % 2 == 0
      if !staysOn { probe.setMemory(false) }
      let bar = probe.bar.moved(probe.function, to: target)
      if !staysOn { probe.setMemory(true) }
      if mmio_load32(bar.address + probe.constant) != value { wrong.new += 1 }
      if probe.value != nothing { wrong.old += 1 }
      if let scratch = probe.scratch { mmio_store64(bar.address + scratch, UInt64(move) << 12) }
      if !staysOn { probe.setMemory(false) }
      _ = probe.bar.moved(probe.function, to: probe.bar.address)
      if !staysOn { probe.setMemory(true) }
      // A 4-byte access opens the window first: vfio-pci before Linux 6.11 splits a trapped 8-byte access,
      // and edu's register does not accept halves.
      if probe.value != value, !probe.isMemory { wrong.back += 1 }
      if let scratch = probe.scratch {
        let kept = mmio_load64(probe.bar.address + scratch) & probe.scratchMask
        if kept != UInt64(move) << 12 & probe.scratchMask {
          if wrong.back == 0 { report.note("move \(move): the register reads \(hex: kept)") }
          wrong.back += 1
        }
        if probe.isMemory { mmio_store32(probe.bar.address + probe.constant, value) }
      }
      if probe.value != value { wrong.back += 1 }
    }
    report.check(
      wrong.new == 0, "\(moves) moves to \(hex: target): \(wrong.new) wrong reads at the new address")
    report.check(wrong.old == 0, "\(wrong.old) reads at the old address returned data")
    report.check(wrong.back == 0, "\(wrong.back) wrong reads after the move back")
  }
}

/// Moves a BAR over RAM and back. Checks that RAM and the device keep their content.
private func checkOverRAM(_ probe: Probe, _ report: inout Report) {
  let target: UInt64 = 64 << 20
  guard probe.bar.size <= 16 << 20 else {
    report.skip("a BAR of \(hex: probe.bar.size) bytes is too large to place over RAM")
    return
  }
  let value = probe.value
  mmio_store64(target + probe.constant & ~7, 0x1122_3344_5566_7788)
  _ = probe.bar.moved(probe.function, to: target)
  // Either RAM or the device may answer, but a write must reach only one of them.
  mmio_store64(target + probe.bar.size, 0)
  let isRAM = mmio_load64(target + probe.constant & ~7) == 0x1122_3344_5566_7788
  report.note("over RAM: \(isRAM ? "RAM answers" : "the device answers")")
  report.equal(probe.value, nothing, "over RAM: the old address is unclaimed")
  _ = probe.bar.moved(probe.function, to: probe.bar.address)
  report.equal(probe.value, value, "moved back from RAM: the device answers")
  report.equal(mmio_load64(target + probe.constant & ~7), 0x1122_3344_5566_7788, "RAM is unchanged")
}
