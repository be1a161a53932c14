// SPDX-License-Identifier: Apache-2.0

// Shows that the result of an instruction does not depend on the state of the windows that it accesses:
// armed, open or closed. Run by the lab case `instructions`, and by `compare`. The latter compares the lines
// `key = value` with the lines under another VMM.
//
// Command line: `memory=` (ivshmem), `edu=` and `table=` (a function with an MSI-X table next to its
// registers) select devices by slot * 8 + function. `part=0` omits instructions on closed windows that KVM
// cannot emulate, because they end QEMU. `part=1` runs only these instructions. `part=2` runs `rounds=N`
// rounds of four processors concurrently.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  func function(_ name: StaticString) -> PCIFunction? {
    machine.commandLine.number(name).map {
      PCIFunction(
        slot: UInt8(truncatingIfNeeded: $0 >> 3 & 31), function: UInt8(truncatingIfNeeded: $0 & 7))
    }
  }
  guard let shared = function("memory"), let probe = Probe.of(shared), probe.isMemory else {
    report.check(false, "a device whose BAR is memory is present")
    return
  }
  probe.setMemory(true)
  let edu = function("edu").flatMap { function in
    BAR.usable(function, 0).map { Edu(function: function, bar: $0) }
  }
  edu?.function.setCommand(PCIFunction.Command.memory, true)
  let table = function("table")
  let ecam = machine.tables.ecam
  if let ecam { _ = PageMap.map(ecam.base, size: 1 << 20) }
  execution_initialize()
  execution_allow_user()
  let memory = dma_page(0)
  if execution_has_avx() == 0 { report.skip("the processor has no AVX") }

  if machine.commandLine.number("part") == 1 {
    let matrix = Matrix(probe: probe, memory: memory, isUser: false, hasClosedWindows: true)
    matrix.writeClosed(&report)
    return
  }
  if machine.commandLine.number("part") == 2 {
    Together.run(probe, rounds: machine.commandLine.number("rounds") ?? 100, &report)
    return
  }
  let isUsers: InlineArray<2, Bool> = [false, true]
  for index in isUsers.indices {
    let isUser = isUsers[index]

    let matrix = Matrix(probe: probe, memory: memory, isUser: isUser, hasClosedWindows: false)
    matrix.write(&report)
  }
  Crossings.acrossWindows(probe, memory, &report)
  if let edu {
    let registers = Registers(edu: edu, memory: memory)
    registers.writeExamples(&report)
    registers.write(isUser: false, &report)
    registers.write(isUser: true, &report)
  }
  writeBorders(shared, probe, table, ecam?.base)
}

/// Accesses the borders of BARs, configuration spaces and MSI-X tables.
private func writeBorders(
  _ shared: PCIFunction, _ probe: Probe, _ table: PCIFunction?, _ ecam: UInt64?
) {
  for offset in 0..<8 as Range<UInt64> {
    mmio_store64(probe.bar.end - 64 + offset * 8, 0x0102_0304_0506_0708 &* (offset + 1))
  }
  if PageMap.map(probe.bar.end, size: 4096) { Crossings.writeReads("border.bar", probe.bar.end) }
  if let ecam {
    let start = shared.ecamAddress(ecam)
    Crossings.writeReads("border.function", start)
    Crossings.writeReads("border.function-end", start + 0x1000)
    Crossings.writeReads("border.slot", start + 0x8000)
    Crossings.writeReads("border.register", start + 4)
    Crossings.writeReads("border.register-8", start + 8)
  }
  guard let function = table, let vectors = MSIX(function) else { return }
  function.setCommand(PCIFunction.Command.memory, true)
  Crossings.writeReads("border.table", vectors.tableAddress)
  Crossings.writeReads("border.entry", vectors.tableAddress + 16)
  function.setCommand(PCIFunction.Command.memory, false)
}
