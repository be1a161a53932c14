// SPDX-License-Identifier: Apache-2.0

// Shows that INTx arrives once for each cause, stays until it is acknowledged, is held back by the
// Interrupt Disable bit and by the I/O APIC and comes afterwards, is shared by two devices, and that
// no cause is lost when INTx, MSI and MSI-X follow each other. Run by the lab case `intx`. Needs
// QEMU's edu; with an e1000e it checks the switches, and sharing where both are on one line.
//
// Command line: `interrupts=N` (200); `switches=N` (300); `input=N` is the input of the I/O APIC
// that edu's Interrupt Line has to name; `shared=1` when edu and e1000e have to be on one line.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  guard let edu = Edu.find(machine.commandLine) else {
    report.check(false, "an edu device")
    return
  }
  edu.function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  edu.function.setCommand(PCIFunction.Command.interruptDisable, false)
  Causes.watch(edu)
  report.equal(edu.function.load8(PCIFunction.Register.interruptPin), 1, "edu has INTA#")
  guard let input = Route.find(raising: { edu.raise(1) }, handler: { _ in Causes.takeEdu() }) else {
    report.check(false, "edu's INTx arrives at one input of the I/O APIC")
    return
  }
  report.note("input \(input), \(IOAPIC.inputs) inputs")
  if let expected = machine.commandLine.number("input") {
    let line = edu.function.load8(PCIFunction.Register.interruptLine)
    report.check(UInt64(line) == expected, "Interrupt Line says \(line), \(expected) is expected")
    report.equal(UInt64(input), expected, "INTx arrives at that input")
  }
  checkEdu(edu, input, machine.commandLine.number("interrupts") ?? 200, &report)
  checkEduSwitches(edu, &report)

  // QEMU's e1000e does not bear interrupts that go astray: what is wrong by now is told first.
  guard report.isGood else { return }
  guard let network = E1000e.find() else {
    report.skip("no e1000e: no switches, nothing shared")
    return
  }
  network.function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  network.function.setCommand(PCIFunction.Command.interruptDisable, false)
  network.prepare()
  Causes.watch(network)
  let found = Route.find(raising: { network.raise() }, handler: { _ in Causes.takeNetwork() })
  guard let second = found else {
    report.check(false, "e1000e's INTx arrives at one input of the I/O APIC")
    return
  }
  report.check(
    input == second || machine.commandLine.number("shared") != 1, "inputs \(input) and \(second)")
  if input == second { checkShared(edu, network, input, &report) }
  checkSwitches(network, second, machine.commandLine.number("switches") ?? 300, &report)
}

/// Two devices on one line: each cause is seen, whichever comes first.
private func checkShared(_ edu: Edu, _ network: E1000e, _ input: UInt32, _ report: inout Report) {
  interrupt_handle(Vector.line, { _ in Causes.takeBoth() })
  IOAPIC.route(input, processor: 0, interrupt: Vector.line)
  let before = (edu: Causes.edu, network: Causes.network)
  var rounds: UInt64 = 0
  while rounds < 100 {
    if rounds % 3 == 2 { IOAPIC.mask(input, true) }
    if rounds % 2 == 0 {
      edu.raise(1)
      network.raise()
    } else {
      network.raise()
      edu.raise(1)
    }
    if rounds % 3 == 2 { IOAPIC.mask(input, false) }
    rounds += 1
    let came = Time.wait(milliseconds: 5000) {
      Causes.edu == before.edu + rounds && Causes.network == before.network + rounds
    }
    guard came else { break }
  }
  let seen = (edu: Causes.edu - before.edu, network: Causes.network - before.network)
  report.check(
    seen.edu == 100 && seen.network == 100, "shared: \(seen.edu) and \(seen.network) of 100 causes seen")
  IOAPIC.mask(input, true)
}
