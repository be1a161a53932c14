// SPDX-License-Identifier: Apache-2.0

// Shows that BARs can be sized and moved with memory on and off, above 4 GiB where they have 64
// bits, over each other and over RAM, that a BAR smaller than a page works anywhere in one, and that
// I/O BARs work where they are put. Run by the lab case `bars`. Needs devices that `Probe` knows;
// ivshmem has the small BAR and e1000e the I/O BAR.
//
// Command line: `moves=N` (20) of each kind; `emulated=1` under QEMU alone.

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

/// What a read gives where nothing answers.
var nothing: UInt32 { Machine.current.isEmulated ? 0 : .max }

/// With memory on and off the same size, and afterwards the device where it was.
private func checkSizing(_ probe: Probe, _ report: inout Report) {
  let value = probe.value
  let on = sizing(probe.function, probe.bar)
  report.equal(probe.value, value, "sized with memory on: the device answers as before")
  probe.setMemory(false)
  let off = sizing(probe.function, probe.bar)
  probe.setMemory(true)
  report.check(on == off && ~on &+ 1 == probe.bar.size, "size \(hex: ~on &+ 1) with memory on and off")
  report.equal(probe.value, value, "sized with memory off: the device answers as before")
}

/// To another place and back, with memory on and off, below and above 4 GiB.
private func checkMoves(_ probe: Probe, _ moves: UInt64, _ report: inout Report) {
  let value = probe.value
  let size = probe.bar.size
  for above in [false, true] where probe.bar.is64Bit || !above {
    guard let place = Placement.find(size: size, above4GiB: above) else {
      report.skip("no place of \(hex: size) bytes \(above ? "above" : "below") 4 GiB")
      continue
    }
    var wrong: (new: UInt64, old: UInt64, back: UInt64) = (0, 0, 0)
    for move in 0..<moves {
      let staysOn = move % 2 == 0
      if !staysOn { probe.setMemory(false) }
      let bar = probe.bar.moved(probe.function, to: place)
      if !staysOn { probe.setMemory(true) }
      if mmio_load32(bar.address + probe.constant) != value { wrong.new += 1 }
      if probe.value != nothing { wrong.old += 1 }
      if let scratch = probe.scratch { mmio_store64(bar.address + scratch, UInt64(move) << 12) }
      if !staysOn { probe.setMemory(false) }
      _ = probe.bar.moved(probe.function, to: probe.bar.address)
      if !staysOn { probe.setMemory(true) }
      // 4 bytes first, which open the window: a trapped access of 8 is split by vfio-pci before Linux
      // 6.11, and edu's register does not take halves.
      if probe.value != value, !probe.isMemory { wrong.back += 1 }
      if let scratch = probe.scratch {
        let kept = mmio_load64(probe.bar.address + scratch) & probe.scratchMask
        if kept != UInt64(move) << 12 & probe.scratchMask {
          if wrong.back == 0 { report.note("move \(move): the register has \(hex: kept)") }
          wrong.back += 1
        }
        if probe.isMemory { mmio_store32(probe.bar.address + probe.constant, value) }
      }
      if probe.value != value { wrong.back += 1 }
    }
    report.check(wrong.new == 0, "\(moves) moves to \(hex: place): \(wrong.new) wrong reads there")
    report.check(wrong.old == 0, "\(wrong.old) reads at the old place gave something")
    report.check(wrong.back == 0, "\(wrong.back) wrong reads after moving back")
  }
}

/// Put over RAM and back: the RAM is as before, and so is the device.
private func checkOverRAM(_ probe: Probe, _ report: inout Report) {
  let place: UInt64 = 64 << 20
  guard probe.bar.size <= 16 << 20 else {
    report.skip("a BAR of \(hex: probe.bar.size) bytes is not put over RAM")
    return
  }
  let value = probe.value
  mmio_store64(place + probe.constant & ~7, 0x1122_3344_5566_7788)
  _ = probe.bar.moved(probe.function, to: place)
  // Whoever answers here, nobody else may see a write.
  mmio_store64(place + probe.bar.size, 0)
  let isRAM = mmio_load64(place + probe.constant & ~7) == 0x1122_3344_5566_7788
  report.note("over RAM: \(isRAM ? "the RAM answers" : "the device answers")")
  report.equal(probe.value, nothing, "over RAM: nothing is left at the old place")
  _ = probe.bar.moved(probe.function, to: probe.bar.address)
  report.equal(probe.value, value, "back from over RAM: the device answers")
  report.equal(mmio_load64(place + probe.constant & ~7), 0x1122_3344_5566_7788, "the RAM is as it was")
}
