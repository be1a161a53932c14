// SPDX-License-Identifier: Apache-2.0

// Shows that a guest can turn a device's memory off and on while another processor reads it continuously.
// Each read returns the device's value or all-ones, and the VM continues. Run by the lab case
// `memory-enable`. Needs two processors.
//
// Command line: `toggles=N` (10000); `device=slot`, else the first device that `Probe` knows;
// `closed=0` directly under QEMU; `any=1` allows any device.

import Hardware

/// Indices of the words that the two processors share.
private enum Shared {
  static let address = SharedWord.first
  static let value = SharedWord.first + 1
  static let stop = SharedWord.first + 2
  static let values = SharedWord.first + 3
  static let closed = SharedWord.first + 4
  static let others = SharedWord.first + 5
  static let firstOther = SharedWord.first + 6
  static let stopped = SharedWord.first + 7
  /// The value of a read while memory is off.
  static let closedValue = SharedWord.first + 8
}

func guest(_ machine: Machine, _ report: inout Report) {
  guard let probe = Probe.find(machine.commandLine) else {
    return Probe.reportAbsence(machine.commandLine, &report)
  }
  probe.setMemory(true)
  if probe.isMemory { mmio_store32(probe.bar.address + probe.constant, 0x5EA1_ED00) }
  let value = probe.value
  report.check(value != .max && value == probe.value, "the device reads \(hex: value, digits: 8)")

  shared_store(Shared.address, probe.bar.address + probe.constant)
  shared_store(Shared.value, UInt64(value))
  shared_store(Shared.closedValue, probe.closed & 0xFFFF_FFFF)
  guard Processor.start(1) else {
    report.check(false, "a second processor starts")
    return
  }
  Processor.run(1) { _ in readWithoutPause() }
  _ = Time.wait(milliseconds: 5000) { shared_load(Shared.values) > 0 }

  let toggles = machine.commandLine.number("toggles") ?? 10_000
  let checked = toggle(probe, toggles, value)
  shared_store(Shared.stop, 1)
  report.check(Time.wait(milliseconds: 5000) { shared_load(Shared.stopped) == 1 }, "the reader stops")

  let values = shared_load(Shared.values)
  let closed = shared_load(Shared.closed)
  let others = shared_load(Shared.others)
  report.note("toggles \(toggles) reads \(values + closed + others)")
  report.note("values \(values) closed \(closed) others \(others)")
  report.check(values > 0, "reads returned the device's value")
  report.check(
    others == 0, "\(others) reads returned another value, first \(hex: shared_load(Shared.firstOther))")
  report.check(checked.whileOff == 0, "\(checked.whileOff) wrong reads right after memory off")
  report.check(checked.whileOn == 0, "\(checked.whileOn) wrong reads right after memory on")
  probe.setMemory(true)
  report.equal(probe.value, value, "the device has its value at the end")
}

/// Clears and sets COMMAND.memory. Every sixteenth time this processor also reads the device and counts wrong
/// values. A write of COMMAND must take effect before the next instruction.
private func toggle(
  _ probe: Probe, _ toggles: UInt64, _ value: UInt32
) -> (whileOff: UInt32, whileOn: UInt32) {
  var wrong: (whileOff: UInt32, whileOn: UInt32) = (0, 0)
  let on = probe.function.command | PCIFunction.Command.memory
  let off = on & ~PCIFunction.Command.memory
  for index in 0..<toggles {
    probe.function.store16(PCIFunction.Register.command, off)
    if index % 16 == 0, UInt64(probe.value) != probe.closed & 0xFFFF_FFFF { wrong.whileOff += 1 }
    probe.function.store16(PCIFunction.Register.command, on)
    if index % 16 == 0, probe.value != value { wrong.whileOn += 1 }
  }
  return wrong
}

/// Runs on the second processor. Reads and counts values until `Shared.stop` is set.
private func readWithoutPause() {
  let address = shared_load(Shared.address)
  let value = UInt32(truncatingIfNeeded: shared_load(Shared.value))
  let closedValue = UInt32(truncatingIfNeeded: shared_load(Shared.closedValue))
  var values: UInt64 = 0
  var closed: UInt64 = 0
  var others: UInt64 = 0
  while shared_load(Shared.stop) == 0 {
    let read = mmio_load32(address)
    if read == value {
      values += 1
      shared_store(Shared.values, values)
    } else if read == closedValue {
      closed += 1
    } else {
      if others == 0 { shared_store(Shared.firstOther, UInt64(read)) }
      others += 1
    }
  }
  shared_store(Shared.values, values)
  shared_store(Shared.closed, closed)
  shared_store(Shared.others, others)
  shared_store(Shared.stopped, 1)
  while true { halt() }
}
