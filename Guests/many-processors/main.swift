// SPDX-License-Identifier: Apache-2.0

// Shows that each of many processors routes, unmasks and masks a separate MSI-X vector. Run by the lab case
// `many-processors`. Needs an NVMe drive with a vector for each processor.
//
// Command line: `processors=N` (4), `rounds=N` (20).

import Hardware

private enum Shared {
  static let table = SharedWord.first
  static let rounds = SharedWord.first + 1
  static let finished = SharedWord.first + 2
}

func guest(_ machine: Machine, _ report: inout Report) {
  let count = UInt32(machine.commandLine.number("processors") ?? 4)
  let rounds = machine.commandLine.number("rounds") ?? 20
  guard let function = PCIBus.first(where: { $0.classCode == 0x01_0802 }), let msix = MSIX(function) else {
    report.check(false, "an NVMe drive with MSI-X is present")
    return
  }
  report.check(msix.count >= count, "\(msix.count) vectors for \(count) processors")
  function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  msix.enable(true)
  shared_store(Shared.table, msix.tableAddress)
  shared_store(Shared.rounds, UInt64(rounds))
  var finished: UInt32 = 0
  for processor in 1..<count {
    guard Processor.start(processor) else { continue }
    shared_store(Shared.finished, 0)
    Processor.run(processor) { work($0) }
    // Start one processor at a time: waiting processors would take host CPUs from the working one.
    if Time.wait(milliseconds: 60_000, until: { shared_load(Shared.finished) == UInt64(processor) }) {
      finished += 1
    }
  }
  work(0)
  report.check(finished == count - 1, "\(finished + 1) processors used a separate vector each")
}

/// Routes, unmasks and masks the processor's vector.
private func work(_ processor: UInt32) {
  let entry = shared_load(Shared.table) + UInt64(processor) * 16
  for _ in 0..<shared_load(Shared.rounds) {
    mmio_store32(entry, UInt32(truncatingIfNeeded: LocalAPIC.messageAddress(processor)))
    mmio_store32(entry + 4, 0)
    mmio_store32(entry + 8, UInt32(FIRST_VECTOR))
    mmio_store32(entry + 12, 0)
    mmio_store32(entry + 12, 1)
  }
  shared_store(Shared.finished, UInt64(processor))
}
