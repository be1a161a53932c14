// SPDX-License-Identifier: Apache-2.0

// Shows that a BAR without a mapping answers from the first access on, in every page and width. While the
// device's memory is off, the BAR reads all-ones and drops writes. When memory is on again, the BAR has its
// earlier content. Run by the lab case `bar-lazy-open`.
//
// Command line: `device=slot`, else the first device that `Probe` knows; `steps=N` (64) is the number of
// pages to access; `closed=0` directly under QEMU; `any=1` allows any device, which the guest then only reads; `bar=N`
// selects the BAR of such a device.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  guard let probe = Probe.find(machine.commandLine) else {
    return Probe.reportAbsence(machine.commandLine, &report)
  }
  let function = probe.function
  report.note("\(function) \(probe.bar)")
  probe.setMemory(true)
  if probe.isMemory { mmio_store64(probe.bar.address, 0x0123_4567_89AB_CDEF) }

  let first = probe.value
  report.check(first != .max, "the first access returns a value: \(hex: first, digits: 8)")
  if let expected = probe.expected {
    report.check(first == expected, "the value is the expected \(hex: expected, digits: 8)")
  }
  var isStable = true
  for _ in 0..<100 where probe.value != first { isStable = false }
  report.check(isStable, "100 more reads return the same value")

  checkPages(probe, machine.commandLine.number("steps") ?? 64, &report)
  checkWidths(probe, &report)
  checkMemoryOff(probe, first, &report)
}

/// Accesses pages throughout the BAR. Memory must keep its values. A register's value may change.
private func checkPages(_ probe: Probe, _ wanted: UInt64, _ report: inout Report) {
  let pages = max(1, probe.bar.size >> 12)
  let steps = probe.readsPages ? max(1, min(pages, wanted)) : 1
  let stride = (pages / steps) << 12
  var different: UInt32 = 0
  for step in 0..<steps {
    let address = probe.bar.address + step * stride
    if probe.isMemory {
      mmio_store64(address + 8, address)
    } else {
      _ = mmio_load32(address)
    }
  }
  if probe.isMemory {
    for step in 0..<steps {
      let address = probe.bar.address + step * stride
      if mmio_load64(address + 8) != address { different += 1 }
    }
    report.check(different == 0, "\(different) of \(steps) pages lost the written value")
  } else {
    report.check(true, "\(steps) pages were read")
  }
}

/// Reads and writes in every width that the device supports. Narrow accesses agree with wide ones.
private func checkWidths(_ probe: Probe, _ report: inout Report) {
  guard let offset = probe.scratch else {
    report.skip("the device has no register that keeps written values")
    return
  }
  let address = probe.bar.address + offset
  let mask = probe.scratchMask
  let saved = mmio_load64(address)
  let pattern: UInt64 = 0x1122_3344_5566_7788 & mask
  mmio_store64(address, pattern)
  report.equal(mmio_load64(address) & mask, pattern, "an 8-byte read returns the written value")
  let low = UInt32(truncatingIfNeeded: pattern)
  let high = UInt32(truncatingIfNeeded: pattern >> 32)
  if probe.widths & 4 != 0, probe.isMemory || probe.function.classCode == 0x01_0802 {
    report.check(
      mmio_load32(address) == low && mmio_load32(address + 4) == high, "4-byte reads return the same value")
    mmio_store32(address + 4, high ^ UInt32(truncatingIfNeeded: mask >> 32) & 0xFF)
    report.equal(
      mmio_load64(address) & mask, pattern ^ (mask >> 32 & 0xFF) << 32,
      "a 4-byte write changes only its bytes")
    mmio_store64(address, pattern)
  }
  if probe.widths & 2 != 0 {
    report.equal(mmio_load16(address + 2), 0x5566, "a 2-byte read returns the same value")
    mmio_store16(address + 2, 0xA5A5)
    report.equal(mmio_load64(address), 0x1122_3344_A5A5_7788, "a 2-byte write changes only its bytes")
  }
  if probe.widths & 1 != 0 {
    report.equal(mmio_load8(address + 7), 0x11, "a 1-byte read returns the same value")
    mmio_store8(address + 7, 0x5A)
    report.equal(mmio_load64(address), 0x5A22_3344_A5A5_7788, "a 1-byte write changes only its byte")
  }
  mmio_store64(address, saved)
}

/// Checks that with memory off, reads return all-ones and writes are dropped. With memory on again, the
/// content must be unchanged.
private func checkMemoryOff(_ probe: Probe, _ value: UInt32, _ report: inout Report) {
  let address = probe.bar.address
  let before: UInt64 = 0x0000_1234_5678_9000 & probe.scratchMask
  if let scratch = probe.scratch { mmio_store64(address + scratch, before) }
  let held = probe.isMemory ? UInt32(truncatingIfNeeded: before) : value

  probe.setMemory(false)
  report.equal(probe.function.command & PCIFunction.Command.memory, 0, "memory is off")
  let constant = address + probe.constant
  let closed = probe.closed
  report.equal(mmio_load32(constant), UInt32(truncatingIfNeeded: closed), "memory off: 4-byte read")
  report.equal(mmio_load16(constant), UInt16(truncatingIfNeeded: closed), "memory off: 2-byte read")
  report.equal(mmio_load8(constant), UInt8(truncatingIfNeeded: closed), "memory off: 1-byte read")
  report.equal(mmio_load64(address + (probe.scratch ?? 0)), closed, "memory off: 8-byte read")
  if let scratch = probe.scratch { mmio_store64(address + scratch, ~before) }

  probe.setMemory(true)
  report.equal(probe.value, held, "memory on again: the register has its value")
  if let scratch = probe.scratch {
    report.equal(
      mmio_load64(address + scratch) & probe.scratchMask, before, "memory on again: writes were dropped")
  }
}
