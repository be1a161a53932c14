// SPDX-License-Identifier: Apache-2.0

// Shows that MSI-X delivers each message exactly once, delays it while its vector or function is masked, and
// applies changes of vector and processor. Run by the lab case `msix`. Needs an NVMe controller. With a
// second processor, the guest also checks delivery to it.
//
// Command line: `commands=N` (1000); `device=slot`, else the first NVMe controller.

import Hardware

/// The processor's interrupt vectors.
private let first = UInt32(FIRST_VECTOR)
private let second = UInt32(FIRST_VECTOR) + 1

func guest(_ machine: Machine, _ report: inout Report) {
  guard let function = PCIBus.find(machine.commandLine, where: { $0.classCode == 0x01_0802 }),
    let bar = BAR.usable(function, 0)
  else {
    report.check(false, "an NVMe controller is present")
    return
  }
  function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  guard let msix = MSIX(function) else {
    report.check(false, "the controller has MSI-X")
    return
  }
  report.note("slot \(function.slot) with \(msix.count) vectors")
  var masked = true
  for vector in 0..<msix.count where !msix.isMasked(vector) { masked = false }
  report.check(masked, "every vector is masked at the start")

  // Set up MSI-X before the controller can raise a message.
  msix.route(0, processor: 0, interrupt: first)
  report.check(msix.isRouted(0, processor: 0, interrupt: first), "the table keeps written values")
  msix.enable(true)
  msix.mask(0, false)
  var nvme = NVMe(registers: bar.address)
  guard nvme.start() else {
    report.check(false, "the controller becomes ready")
    return
  }
  guard checkDelivery(&nvme, &report) else { return }
  checkVectorMask(&nvme, msix, &report)
  checkFunctionMask(&nvme, msix, &report)
  checkRoute(&nvme, msix, &report)
  checkProcessor(&nvme, msix, &report)
  checkCount(&nvme, machine.commandLine.number("commands") ?? 1000, &report)
  report.check(nvme.stop(), "the controller stops")
}

/// Returns the number of interrupts at a vector of the first processor.
private func count(_ vector: UInt32) -> UInt64 { interrupt_count(0, vector) }

private func checkDelivery(_ nvme: inout NVMe, _ report: inout Report) -> Bool {
  let before = count(first)
  nvme.submitIdentify()
  let completed = nvme.waitForCompletion()
  report.check(completed, "a command completes")
  guard completed else { return false }
  report.equal(Arrival.count(0, first, at: before + 1), before + 1, "its interrupt arrives once")
  nvme.takeCompletion()
  return true
}

private func checkVectorMask(_ nvme: inout NVMe, _ msix: MSIX, _ report: inout Report) {
  let before = count(first)
  msix.mask(0, true)
  report.check(msix.isMasked(0), "the vector is masked")
  nvme.submitIdentify()
  report.check(nvme.waitForCompletion(), "a command completes while the vector is masked")
  Time.wait(milliseconds: 20)
  report.equal(count(first), before, "no interrupt while the vector is masked")
  report.check(msix.isPending(0), "the pending bit is set")
  msix.mask(0, false)
  report.equal(Arrival.count(0, first, at: before + 1), before + 1, "unmasked: the interrupt arrives once")
  report.check(!msix.isPending(0), "the pending bit is clear")
  nvme.takeCompletion()
}

private func checkFunctionMask(_ nvme: inout NVMe, _ msix: MSIX, _ report: inout Report) {
  let before = count(first)
  msix.maskFunction(true)
  nvme.submitIdentify()
  report.check(nvme.waitForCompletion(), "a command completes while the function is masked")
  Time.wait(milliseconds: 20)
  report.equal(count(first), before, "no interrupt while the function is masked")
  report.check(msix.isPending(0), "the pending bit is set")
  msix.maskFunction(false)
  report.equal(Arrival.count(0, first, at: before + 1), before + 1, "unmasked: the interrupt arrives once")
  nvme.takeCompletion()
}

/// Changes the message like an operating system: masks the vector, writes the entry, unmasks the vector.
private func checkRoute(_ nvme: inout NVMe, _ msix: MSIX, _ report: inout Report) {
  let before = count(first)
  let beforeSecond = count(second)
  msix.mask(0, true)
  msix.route(0, processor: 0, interrupt: second)
  msix.mask(0, false)
  nvme.submitIdentify()
  report.check(nvme.waitForCompletion(), "a command completes after the change")
  report.equal(
    Arrival.count(0, second, at: beforeSecond + 1), beforeSecond + 1,
    "the interrupt arrives once at the new vector")
  report.equal(count(first), before, "no interrupt at the old vector")
  nvme.takeCompletion()

  // A pending message has the destination that the entry contains at the unmask.
  msix.mask(0, true)
  nvme.submitIdentify()
  report.check(nvme.waitForCompletion(), "a command completes while the vector is masked")
  msix.route(0, processor: 0, interrupt: first)
  msix.mask(0, false)
  report.equal(
    Arrival.count(0, first, at: before + 1), before + 1, "a pending interrupt arrives at the new vector")
  report.equal(count(second), beforeSecond + 1, "no interrupt at the old vector")
  nvme.takeCompletion()
}

private func checkProcessor(_ nvme: inout NVMe, _ msix: MSIX, _ report: inout Report) {
  guard Processor.start(1) else {
    report.skip("no second processor")
    return
  }
  Processor.run(1) { _ in
    LocalAPIC.enable()
    shared_store(SharedWord.first, 1)
    while true { wait_for_interrupt() }
  }
  _ = Time.wait(milliseconds: 5000) { shared_load(SharedWord.first) == 1 }
  let before = interrupt_count(1, first)
  let beforeHere = count(first)
  msix.mask(0, true)
  msix.route(0, processor: 1, interrupt: first)
  msix.mask(0, false)
  nvme.submitIdentify()
  report.check(nvme.waitForCompletion(), "a command completes after the change of processor")
  report.equal(
    Arrival.count(1, first, at: before + 1), before + 1, "the interrupt arrives once at the second processor")
  report.equal(count(first), beforeHere, "no interrupt at the first processor")
  nvme.takeCompletion()
  msix.mask(0, true)
  msix.route(0, processor: 0, interrupt: first)
  msix.mask(0, false)
}

/// Runs many commands in sequence. Each raises exactly one interrupt.
private func checkCount(_ nvme: inout NVMe, _ commands: UInt64, _ report: inout Report) {
  let before = count(first)
  var done: UInt64 = 0
  while done < commands {
    nvme.submitIdentify()
    guard nvme.waitForCompletion() else { break }
    done += 1
    let wanted = before + done
    guard Time.wait(milliseconds: 10_000, until: { count(first) >= wanted }) else { break }
    nvme.takeCompletion()
  }
  report.check(done == commands, "\(done) of \(commands) commands completed")
  report.equal(
    Arrival.count(0, first, at: before + commands), before + commands,
    "\(count(first) - before) interrupts for the commands")
}
