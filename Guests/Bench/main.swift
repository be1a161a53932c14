// SPDX-License-Identifier: Apache-2.0

// The parts of the lab's `bench` that run in a guest.
//
// Command line: `device=SLOT` (1) selects the function, an NVMe drive in parts 1 to 4 and 6. `part=N` is:
// 1: times accesses that the VMM handles, and writes `bench.NAME = MINIMUM MEDIAN P99` in ticks of the time
//    stamp counter. With `table=ADDRESS`, times only accesses that need no function, and reads that address
//    instead of an MSI-X table. Part 1 is the default.
// 2: reads a register in an open window `accesses=N` times.
// 3: takes `interrupts=N` interrupts by MSI-X.
// 4: turns memory and bus mastering on and powers the machine off.
// 5: turns on the memory of BAR `bar=N` and reads it at `touch=N` addresses.
// 6: repeats the access `kind=NAME` (Repetition.swift) `exits=N` times.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let line = machine.commandLine
  let slot = UInt8(truncatingIfNeeded: (line.number("device") ?? 1) & 31)
  let function = PCIFunction(slot: slot, function: 0)
  let part = line.number("part") ?? 1
  guard part == 1 || function.isPresent else {
    report.check(false, "slot \(slot) has a function")
    return
  }
  switch part {
  case 2: readOpen(function, line.number("accesses") ?? 0, &report)
  case 3: takeInterrupts(function, line.number("interrupts") ?? 0, &report)
  case 4:
    _ = BAR.usable(function, 0)
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
    report.check(true, "ready")
    report.end()
    machine.tables.powerOff()
  case 5:
    let bar = BAR.usable(function, UInt8(truncatingIfNeeded: line.number("bar") ?? 0))
    function.setCommand(PCIFunction.Command.memory, true)
    if let bar, let points = line.number("touch"), points > 0 {
      for point in 0..<points { _ = mmio_load32(bar.address + bar.size / points * point) }
    }
    report.check(bar != nil, "ready")
  case 6:
    let exits = line.number("exits") ?? 0
    let isDone = Repetition(function: function, line: line, times: exits).run()
    report.check(isDone, "the access ran \(exits) times")
  default:
    AccessTimes(function: function, table: line.number("table")).write()
    report.check(true, "all times written")
  }
}

/// Reads a register in an open window `accesses` times.
private func readOpen(_ function: PCIFunction, _ accesses: UInt64, _ report: inout Report) {
  guard let bar = BAR.usable(function, 0) else {
    report.check(false, "BAR 0 is a memory BAR")
    return
  }
  function.setCommand(PCIFunction.Command.memory, true)
  for _ in 0...accesses { _ = mmio_load32(bar.address) }
  report.check(true, "\(accesses) accesses after the first")
}

/// Makes the drive raise one interrupt after the other, and counts the interrupts that arrive.
private func takeInterrupts(_ function: PCIFunction, _ wanted: UInt64, _ report: inout Report) {
  let interrupt = UInt32(FIRST_VECTOR)
  guard let bar = BAR.usable(function, 0), let msix = MSIX(function) else {
    report.check(false, "a drive with MSI-X is present")
    return
  }
  function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  msix.route(0, processor: 0, interrupt: interrupt)
  msix.enable(true)
  msix.mask(0, false)
  var nvme = NVMe(registers: bar.address)
  guard nvme.start() else {
    report.check(false, "the controller becomes ready")
    return
  }
  var count: UInt64 = 0
  while count < wanted {
    nvme.submitIdentify()
    guard nvme.waitForCompletion() else { break }
    let next = count + 1
    guard Time.wait(milliseconds: 5000, until: { interrupt_count(0, interrupt) >= next }) else { break }
    count = next
    nvme.takeCompletion()
  }
  report.check(count == wanted, "\(count) of \(wanted) interrupts")
  report.check(nvme.stop(), "the controller stops")
}
