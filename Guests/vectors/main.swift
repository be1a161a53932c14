// SPDX-License-Identifier: Apache-2.0

// Shows that no interrupt of many MSI-X vectors is lost: pending bits of vectors that were never unmasked,
// vectors that are unmasked one after the other while an earlier vector fires, and a storm of masks and
// unmasks. The registers next to the table in the BAR still answer. Run by the lab case `vectors`. Needs an
// xHCI controller with MSI-X, and a second processor for the vector that fires concurrently.
//
// Command line: `storm=N` (10000) is the number of masks and unmasks; `rounds=N` (4) is the number of times
// that each vector is unmasked.

import Hardware

private let first = UInt32(FIRST_VECTOR)

/// Indices of the words that the two processors share.
private enum Shared {
  static let slot = SharedWord.first
  static let fired = SharedWord.first + 1
  static let lost = SharedWord.first + 2
  static let stop = SharedWord.first + 3
  static let stopped = SharedWord.first + 4
  static let address = SharedWord.first + 5
}

func guest(_ machine: Machine, _ report: inout Report) {
  let function = PCIBus.first { $0.classCode == 0x0C_0330 && MSIX($0) != nil }
  guard let function, let controller = XHCI(function), let msix = MSIX(function) else {
    report.check(false, "a USB controller with MSI-X is present")
    return
  }
  let count = min(msix.count, controller.count, 16)
  report.note("\(function) \(controller.bar), \(count) vectors")
  msix.enable(true)
  for vector in 0..<count { controller.prepare(vector) }
  takeOld(msix, count)
  for vector in 0..<count { msix.route(vector, processor: 0, interrupt: first + vector) }
  checkPending(controller, msix, count, &report)
  checkUnmasking(controller, msix, count, rounds: machine.commandLine.number("rounds") ?? 4, &report)
  checkStorm(controller, msix, machine.commandLine.number("storm") ?? 10_000, &report)
  checkPage(controller, msix, &report)
}

/// Takes interrupts that an earlier guest left pending. Not every controller supports a reset.
private func takeOld(_ msix: MSIX, _ count: UInt32) {
  for vector in 0..<count where msix.isPending(vector) {
    let wanted = interrupt_count(0, first + count) + 1
    msix.route(vector, processor: 0, interrupt: first + count)
    msix.mask(vector, false)
    _ = Arrival.count(0, first + count, at: wanted)
    msix.mask(vector, true)
  }
}

/// Checks the pending bits of vectors that were never unmasked.
private func checkPending(_ controller: XHCI, _ msix: MSIX, _ count: UInt32, _ report: inout Report) {
  for vector in [count - 1, count / 2] {
    controller.raise(vector)
    let isPending = Time.wait(milliseconds: 1000) { msix.isPending(vector) }
    report.check(isPending, "vector \(vector), never unmasked: the pending bit is set")
    report.equal(interrupt_count(0, first + vector), 0, "vector \(vector): no interrupt")
    msix.mask(vector, false)
    report.equal(
      Arrival.count(0, first + vector, at: 1), 1, "vector \(vector) unmasked: the interrupt arrives once")
    report.check(!msix.isPending(vector), "the pending bit is clear")
    msix.mask(vector, true)
  }
  var others: UInt32 = 0
  for vector in 0..<count where msix.isPending(vector) { others += 1 }
  report.check(others == 0, "\(others) other pending bits are set")
}

/// Unmasks each vector while another processor raises vector 0. That processor raises the next interrupt only
/// after the last one has arrived.
private func checkUnmasking(
  _ controller: XHCI, _ msix: MSIX, _ count: UInt32, rounds: UInt64, _ report: inout Report
) {
  msix.mask(0, false)
  shared_store(Shared.slot, UInt64(controller.function.slot))
  shared_store(Shared.address, controller.bar.address)
  let hasSecond = Processor.start(1)
  if hasSecond {
    Processor.run(1) { _ in fire() }
    _ = Time.wait(milliseconds: 5000) { shared_load(Shared.fired) > 0 }
  } else {
    report.skip("no second processor: vector 0 does not fire")
  }
  var came: UInt32 = 0
  let rounds = UInt32(truncatingIfNeeded: rounds)
  for round in 0..<rounds {
    for vector in 1..<count {
      let wanted = interrupt_count(0, first + vector) + 1
      // Raise every second interrupt while the vector is still masked.
      if (vector + round) % 2 == 0 { controller.raise(vector) }
      msix.mask(vector, false)
      if (vector + round) % 2 == 1 { controller.raise(vector) }
      if Arrival.count(0, first + vector, at: wanted) == wanted { came += 1 }
    }
    for vector in 1..<count { msix.mask(vector, true) }
  }
  let wanted = (count - 1) * rounds
  report.check(came == wanted, "\(came) of \(wanted) interrupts arrived once each")
  guard hasSecond else { return }
  shared_store(Shared.stop, 1)
  report.check(
    Time.wait(milliseconds: 10_000) { shared_load(Shared.stopped) == 1 }, "the second processor stops")
  let fired = shared_load(Shared.fired)
  report.check(
    fired > 0 && shared_load(Shared.lost) == 0, "\(shared_load(Shared.lost)) of \(fired) interrupts lost")
  report.equal(
    Arrival.count(0, first, at: fired), fired, "\(interrupt_count(0, first)) interrupts of vector 0")
}

/// Runs on the second processor. Raises vector 0 repeatedly.
private func fire() {
  let bar = BAR(
    index: 0, isMemory: true, is64Bit: true, isPrefetchable: false, address: shared_load(Shared.address),
    size: 0)
  let function = PCIFunction(slot: UInt8(truncatingIfNeeded: shared_load(Shared.slot)), function: 0)
  let controller = XHCI(function, at: bar)
  while shared_load(Shared.stop) == 0 {
    let wanted = shared_load(Shared.fired) + 1
    controller.raise(0)
    if !Time.wait(milliseconds: 5000, until: { interrupt_count(0, first) >= wanted }) {
      shared_store(Shared.lost, shared_load(Shared.lost) + 1)
      break
    }
    shared_store(Shared.fired, wanted)
  }
  shared_store(Shared.stopped, 1)
  while true { halt() }
}

/// Masks and unmasks a vector continuously. Every eighth round raises an interrupt before, between or after
/// them.
private func checkStorm(_ controller: XHCI, _ msix: MSIX, _ storm: UInt64, _ report: inout Report) {
  msix.mask(1, false)
  let before = interrupt_count(0, first + 1)
  var raised: UInt64 = 0
  var lost: UInt64 = 0
  for round in 0..<storm {
    let raises = round % 8 == 0
    if raises, round % 24 == 0 { controller.raise(1) }
    msix.mask(1, true)
    if raises, round % 24 == 8 { controller.raise(1) }
    msix.mask(1, false)
    if raises, round % 24 == 16 { controller.raise(1) }
    guard raises else { continue }
    raised += 1
    let wanted = before + raised - lost
    if !Time.wait(milliseconds: 1000, until: { interrupt_count(0, first + 1) >= wanted }) {
      lost += 1
      if lost == 5 { break }
    }
  }
  report.check(lost == 0, "\(storm) masks and unmasks: \(lost) of \(raised) interrupts lost")
  report.equal(
    Arrival.count(0, first + 1, at: before + raised), before + raised,
    "\(interrupt_count(0, first + 1) - before) interrupts arrived")
}

/// Checks that the table keeps written values and the rest of the BAR answers.
private func checkPage(_ controller: XHCI, _ msix: MSIX, _ report: inout Report) {
  let address = controller.bar.address
  report.check(mmio_load32(address) & 0xFF != 0xFF, "the registers before the table answer")
  report.check(mmio_load32(address + controller.bar.size - 4) != .max, "the end of the BAR answers")
  report.check(msix.isRouted(1, processor: 0, interrupt: first + 1), "the table keeps written values")
  msix.enable(false)
}
