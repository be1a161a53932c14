// SPDX-License-Identifier: Apache-2.0

// Shows that a guest starts, receives the memory map, the ACPI tables and the command line, reports, and ends
// by each method that a machine supports. Run by the lab case `hello`.
//
// Command line: `processors=N` starts N processors; `status=1` makes a check fail; `end=exit` (through the
// debug exit port; the default), `end=poweroff`, `end=reset`, `end=panic` and `end=triple-fault` select the
// end.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  report.check(machine.hasStartInfo, "PVH start info at \(hex: machine.startInfo)")
  printCommandLine(machine.commandLine)

  var memory: UInt64 = 0
  for index in 0..<machine.memoryRangeCount {
    let range = machine.memoryRange(index)
    report.note("memory \(hex: range.start, digits: 9)-\(hex: range.end, digits: 9) kind \(range.kind)")
    if range.kind == 1 { memory += range.end - range.start }
  }
  report.check(memory > 1 << 20, "\(memory >> 20) MiB of RAM in the memory map")

  if let dsdt = machine.tables.dsdt {
    report.check(ACPITables.sum(dsdt) == 0, "DSDT at \(hex: dsdt) has checksum 0")
  } else {
    report.skip("no ACPI tables")
  }

  for id in 1..<UInt32(truncatingIfNeeded: max(1, machine.commandLine.number("processors") ?? 1)) {
    report.check(Processor.start(id), "processor \(id) starts")
  }

  report.check(machine.commandLine.number("status") != 1, "the command line requests no failure")
  end(machine)
}

/// Writes the command line unchanged.
private func printCommandLine(_ line: CommandLine) {
  line_clear()
  for index in 0..<line.length { line_append(line.byte(index)) }
  Console.write(0x23)
  Console.write(0x20)
  Console.flush()
}

/// Ends the machine by the method that the command line selects. Returns for the default method.
private func end(_ machine: Machine) {
  if machine.commandLine.has("end", "poweroff") { machine.tables.powerOff() }
  if machine.commandLine.has("end", "reset") { machine.tables.reset() }
  if machine.commandLine.has("end", "panic") { port_store8(0x505, 1) }
  if machine.commandLine.has("end", "triple-fault") { triple_fault() }
}
