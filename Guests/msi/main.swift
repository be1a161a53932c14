// SPDX-License-Identifier: Apache-2.0

// Shows that MSI delivers each message exactly once, with one vector and with several, and applies changes of
// address and data while it is enabled. A masked vector delivers nothing, if the device supports masks. Run
// by the lab case `msi`. Needs QEMU's edu, or a USB controller with MSI (QEMU's
// nec-usb-xhci,msi=on,msix=off), or both. A second processor receives messages too.
//
// Command line: `interrupts=N` (500) is the number of interrupts.

import Hardware

private let first = UInt32(FIRST_VECTOR)

func guest(_ machine: Machine, _ report: inout Report) {
  let hasSecond = Processor.start(1)
  if hasSecond {
    Processor.run(1) { _ in
      LocalAPIC.enable()
      while true { wait_for_interrupt() }
    }
  } else {
    report.skip("no second processor")
  }
  let edu = Edu.find(machine.commandLine)
  if let edu, let msi = MSI(edu.function) {
    checkEdu(edu, msi, machine.commandLine.number("interrupts") ?? 500, hasSecond, &report)
  } else {
    report.skip("no edu with MSI")
  }
  let usb = PCIBus.first { $0.classCode == 0x0C_0330 && MSI($0) != nil }
  if let usb, let controller = XHCI(usb), let msi = MSI(usb) {
    checkSeveral(controller, msi, &report)
  } else {
    report.skip("no USB controller with MSI")
  }
}

/// Checks a single vector: its count, changes while MSI is enabled, and MSI off.
private func checkEdu(
  _ edu: Edu, _ msi: MSI, _ interrupts: UInt64, _ hasSecond: Bool, _ report: inout Report
) {
  report.note("\(edu.function) \(msi.count) vectors")
  edu.function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  edu.acknowledge(.max)
  msi.route(processor: 0, interrupt: first)
  report.check(msi.isRouted(processor: 0, interrupt: first), "the capability keeps written values")
  report.check(!msi.isEnabled, "MSI is off at the start")
  msi.enable(true)
  report.check(msi.isEnabled, "MSI is on")
  var done: UInt64 = 0
  while done < interrupts {
    edu.raise(1)
    done += 1
    guard Time.wait(milliseconds: 5000, until: { interrupt_count(0, first) >= done }) else { break }
    edu.acknowledge(1)
  }
  report.equal(
    Arrival.count(0, first, at: interrupts), interrupts,
    "\(interrupt_count(0, first)) of \(interrupts) interrupts")

  // Change address and data repeatedly while MSI is enabled.
  var arrived: UInt64 = 0
  let changes: UInt64 = 50
  for change in 0..<changes {
    let vector = first + 1 + UInt32(change % 3)
    let processor: UInt32 = hasSecond ? UInt32(change / 3 % 2) : 0
    let before = interrupt_count(processor, vector)
    msi.route(processor: processor, interrupt: vector)
    edu.raise(1)
    if Arrival.count(processor, vector, at: before + 1) == before + 1 { arrived += 1 }
    edu.acknowledge(1)
  }
  report.check(arrived == changes, "\(arrived) of \(changes) messages arrived at the new vector")
  report.equal(interrupt_count(0, first), interrupts, "no message arrived at the first vector")

  msi.enable(false)
  edu.function.setCommand(PCIFunction.Command.interruptDisable, true)
  edu.raise(1)
  Time.wait(milliseconds: 20)
  edu.acknowledge(1)
  var sum: UInt64 = 0
  for vector in first + 1..<first + 4 {
    sum += interrupt_count(0, vector) + interrupt_count(1, vector)
  }
  report.check(sum == changes, "MSI off: no further message, \(sum) in total")
}

/// Checks several vectors. Each arrives separately. If fewer vectors are enabled, the vector numbers wrap
/// around.
private func checkSeveral(_ controller: XHCI, _ msi: MSI, _ report: inout Report) {
  let base = first + 16
  let all = min(msi.countLog2, 4)
  report.note("\(controller.function) \(msi.count) vectors, \(controller.count) interrupters")
  msi.route(processor: 0, interrupt: base)
  for countLog2 in [all, 0, 2, all] {
    msi.enable(true, countLog2: countLog2)
    let count = UInt32(1) << UInt32(countLog2)
    report.check(msi.enabledCountLog2 == countLog2, "\(count) vectors enabled")
    var good: UInt32 = 0
    for number in 0..<min(controller.count, 1 << UInt32(all)) {
      controller.prepare(number)
      let before = counts(base)
      let vector = base + number % count
      let wanted = interrupt_count(0, vector) + 1
      controller.raise(number)
      if Arrival.count(0, vector, at: wanted) == wanted, counts(base) == before + 1 { good += 1 }
    }
    report.check(good == min(controller.count, 1 << UInt32(all)), "\(good) messages arrived at their vector")
    msi.enable(false)
  }
  guard msi.hasMasks else {
    report.skip("the device does not support masks")
    return
  }
  msi.enable(true, countLog2: all)
  let before = interrupt_count(0, base + 1)
  msi.mask(1, true)
  controller.raise(1)
  Time.wait(milliseconds: 20)
  report.equal(interrupt_count(0, base + 1), before, "no interrupt while the vector is masked")
  report.check(msi.isPending(1), "the pending bit is set")
  msi.mask(1, false)
  report.equal(Arrival.count(0, base + 1, at: before + 1), before + 1, "unmasked: the interrupt arrives once")
  report.check(!msi.isPending(1), "the pending bit is clear")
  msi.enable(false)
}

/// Returns the number of messages at the sixteen vectors from `base` on.
private func counts(_ base: UInt32) -> UInt64 {
  var sum: UInt64 = 0
  for vector in base..<base + 16 { sum += interrupt_count(0, vector) }
  return sum
}
