// SPDX-License-Identifier: Apache-2.0

// Shows that INTx arrives once for each cause and stays asserted until it is acknowledged. Interrupt Disable
// and the I/O APIC's mask delay it. Two devices share an input. No cause is lost in switches between INTx,
// MSI and MSI-X. Run by the lab case `intx`. Needs QEMU's edu. With an e1000e, the guest also checks the
// switches, and sharing if both devices use the same input.
//
// Command line: `interrupts=N` (200); `switches=N` (300); `input=N` is the input of the I/O APIC that edu's
// Interrupt Line must contain; `shared=1` requires that edu and e1000e use the same input; `repeats=1` permits more
// interrupts than causes, for an interrupt controller that can deliver a level-triggered interrupt again after its end.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  guard let edu = Edu.find(machine.commandLine) else {
    report.check(false, "an edu is present")
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
    report.check(UInt64(line) == expected, "Interrupt Line is \(line), expected \(expected)")
    report.equal(UInt64(input), expected, "INTx arrives at the input of Interrupt Line")
  }
  let isExact = machine.commandLine.number("repeats") != 1
  checkEdu(edu, input, machine.commandLine.number("interrupts") ?? 200, isExact: isExact, &report)
  checkEduSwitches(edu, isExact: isExact, &report)

  // QEMU's e1000e does not tolerate misrouted interrupts. Stop after a failure, so that the report is
  // complete.
  guard report.isGood else { return }
  guard let network = E1000e.find() else {
    report.skip("no e1000e for switches and sharing")
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
    input == second || machine.commandLine.number("shared") != 1,
    "edu at input \(input), e1000e at input \(second)")
  if input == second { checkShared(edu, network, input, &report) }
  checkSwitches(network, second, machine.commandLine.number("switches") ?? 300, &report)
}

/// Checks two devices at one input. The handler sees each cause, in either order.
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
    seen.edu == 100 && seen.network == 100,
    "shared input: \(seen.edu) and \(seen.network) of 100 causes seen")
  IOAPIC.mask(input, true)
}
