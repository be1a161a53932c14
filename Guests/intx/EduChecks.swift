// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The number of INTx interrupts since the start of the guest.
private var interrupts: UInt64 { interrupt_count(0, Vector.line) }

/// Waits until the handler has seen a number of edu's causes. Then waits 2 ms, so that a surplus cause is
/// counted too.
private func settled(at wanted: UInt64) -> UInt64 {
  _ = Time.wait(milliseconds: 5000) { Causes.edu >= wanted }
  Time.wait(milliseconds: 2)
  return Causes.edu
}

/// Checks the INTx of a device that shares its input with no other device.
///
/// - Parameter isExact: No interrupt arrives without a cause. Otherwise more interrupts than expected may arrive.
func checkEdu(
  _ edu: Edu, _ input: UInt32, _ count: UInt64, isExact: Bool, _ report: inout Report
) {
  interrupt_handle(Vector.line, { _ in Causes.takeEdu() })
  IOAPIC.route(input, processor: 0, interrupt: Vector.line)
  let causes = Causes.edu
  let before = interrupts
  var done: UInt64 = 0
  while done < count {
    edu.raise(1 << UInt32(done % 8))
    done += 1
    guard Time.wait(milliseconds: 5000, until: { Causes.edu == causes + done }) else { break }
  }
  Time.wait(milliseconds: 5)
  report.check(Causes.edu - causes == count, "\(Causes.edu - causes) of \(count) causes seen")
  report.check(
    isExact ? interrupts - before == count && Causes.none == 0 : interrupts - before >= count,
    "\(interrupts - before) interrupts, \(Causes.none) without a cause")

  let held = (causes: Causes.edu, interrupts: interrupts)
  Causes.hold(5)
  edu.raise(1)
  report.equal(
    settled(at: held.causes + 1), held.causes + 1, "unacknowledged five times: the handler sees the cause"
  )
  report.check(
    isExact ? interrupts - held.interrupts == 6 : interrupts - held.interrupts >= 6,
    "the level stays: \(interrupts - held.interrupts) of 6 interrupts")
  checkDisable(edu, &report)
  checkMask(edu, input, &report)
}

/// Checks Interrupt Disable of COMMAND and Interrupt Status of STATUS (PCIe 6.0 §7.5.1.1.3).
private func checkDisable(_ edu: Edu, _ report: inout Report) {
  let before = Causes.edu
  let status = { edu.function.status & PCIFunction.Status.interrupt != 0 }
  report.check(!status(), "Interrupt Status is clear")
  edu.function.setCommand(PCIFunction.Command.interruptDisable, true)
  edu.raise(1)
  Time.wait(milliseconds: 20)
  report.equal(Causes.edu, before, "no interrupt while Interrupt Disable is set")
  report.check(status(), "Interrupt Status is set at the same time")
  edu.function.setCommand(PCIFunction.Command.interruptDisable, false)
  report.equal(
    settled(at: before + 1), before + 1, "the interrupt arrives after Interrupt Disable is cleared")
  report.check(!status(), "Interrupt Status is clear again")

  // A cause that is acknowledged while Interrupt Disable is set raises no interrupt.
  edu.function.setCommand(PCIFunction.Command.interruptDisable, true)
  edu.raise(1)
  edu.acknowledge(1)
  let none = Causes.none
  edu.function.setCommand(PCIFunction.Command.interruptDisable, false)
  report.equal(settled(at: before + 1), before + 1, "the handler sees no cleared cause")
  report.equal(Causes.none, none, "no interrupt for a cleared cause")
}

private func checkMask(_ edu: Edu, _ input: UInt32, _ report: inout Report) {
  let before = Causes.edu
  IOAPIC.mask(input, true)
  edu.raise(1)
  Time.wait(milliseconds: 20)
  report.equal(Causes.edu, before, "no interrupt while the input is masked")
  IOAPIC.mask(input, false)
  report.equal(settled(at: before + 1), before + 1, "unmasked: the interrupt arrives once")

  IOAPIC.mask(input, true)
  edu.raise(1)
  edu.acknowledge(1)
  let none = Causes.none
  IOAPIC.mask(input, false)
  report.equal(settled(at: before + 1), before + 1, "acknowledged while masked: the handler sees no cause")
  report.note("\(Causes.none - none) interrupts without a cause")
}

/// Switches edu between INTx and MSI and raises a cause in each mode. The interrupt arrives in the active
/// mode. Without `isExact`, more interrupts of INTx than causes may arrive.
func checkEduSwitches(_ edu: Edu, isExact: Bool, _ report: inout Report) {
  guard let msi = MSI(edu.function) else {
    report.skip("edu has no MSI")
    return
  }
  interrupt_handle(Vector.message, { _ in Causes.takeEdu() })
  msi.route(processor: 0, interrupt: Vector.message)
  let before = Causes.edu
  let lines = interrupts
  let messages = interrupt_count(0, Vector.message)
  var good = true
  for round in UInt64(0)..<50 where good {
    msi.enable(true)
    edu.raise(1)
    good = settled(at: before + 2 * round + 1) == before + 2 * round + 1
    msi.enable(false)
    edu.raise(1)
    good = good && settled(at: before + 2 * round + 2) == before + 2 * round + 2
  }
  report.check(good, "alternating INTx and MSI: \(Causes.edu - before) of 100 causes seen")
  let (byLine, byMessage) = (interrupts - lines, interrupt_count(0, Vector.message) - messages)
  report.check(
    (isExact ? byLine == 50 : byLine >= 50) && byMessage == 50,
    "\(byLine) by INTx and \(byMessage) by MSI")
}
