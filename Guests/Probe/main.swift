// SPDX-License-Identifier: Apache-2.0

// Writes a guest's observations as lines of `key = value`, for the lab's `compare`: the machine, the
// configuration space of every function, and the behaviour of one function: its BARs with memory on and off,
// in D3hot and after resets, its ROM, its interrupts, its DMA. If a value is unavailable, the line contains
// the reason. Keys that begin with `cycles.` are times and differ from run to run.
//
// Command line: `device=SLOT` (1); `part=1` runs only D3hot, and `part=2` only the sizing of BARs with memory
// on, which not every VMM survives; `peer=SLOT` is a function whose BAR 2 is a target of edu's DMA.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  guard let ecam = machine.tables.ecam, PageMap.map(ecam.base, size: 1 << 20) else {
    report.check(false, "an MCFG is present")
    return
  }
  let slot = UInt8(truncatingIfNeeded: (machine.commandLine.number("device") ?? 1) & 31)
  let function = PCIFunction(slot: slot, function: 0)
  guard function.isPresent, function.isEndpoint else {
    report.check(false, "slot \(slot) has an endpoint")
    return
  }
  switch machine.commandLine.number("part") ?? 0 {
  case 1: AccessFacts(function: function)?.writePower()
  case 2: BARFacts(function: function).writeSizes(true)
  default:
    MachineFacts(machine: machine).write()
    PCIBus.forEachFunction { ConfigFacts(function: $0, ecam: $0.ecamAddress(ecam.base)).write() }
    CommandFacts(function: function, ecam: function.ecamAddress(ecam.base)).write()
    BARFacts(function: function).write()
    ROMFacts(function: function).write()
    AccessFacts(function: function)?.write()
    VectorFacts(function: function).write()
    InterruptFacts(function: function).write()
    DMAFacts(function: function, peer: machine.commandLine.number("peer")).write()
    CycleFacts(function: function, ecam: function.ecamAddress(ecam.base)).write()
  }
  report.check(true, "all facts written")
}
