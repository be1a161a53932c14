// SPDX-License-Identifier: Apache-2.0

// Shows that a BAR which nothing has mapped yet works from the first access on, in every page
// and every width, that it reads all-ones and drops writes while the device's memory is off, and
// that it is as before when memory is on again. Run by the lab case `bar-lazy-open`.
//
// Command line: `device=slot`; else the first device that `Probe` knows. `steps=N` is how many
// pages to touch. `closed=0` under QEMU alone.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  guard let probe = Probe.find(machine.commandLine) else {
    report.check(false, "a device to test")
    return
  }
  let function = probe.function
  report.note("\(function) \(probe.bar)")
  probe.setMemory(true)
  if probe.isMemory { mmio_store64(probe.bar.address, 0x0123_4567_89AB_CDEF) }

  let first = probe.value
  report.check(first != .max, "the first access reads a value: \(hex: first, digits: 8)")
  if let expected = probe.expected {
    report.check(first == expected, "it is the expected \(hex: expected, digits: 8)")
  }
  var isStable = true
  for _ in 0..<100 where probe.value != first { isStable = false }
  report.check(isStable, "100 more reads give the same")

  checkPages(probe, machine.commandLine.number("steps") ?? 64, &report)
  checkWidths(probe, &report)
  checkMemoryOff(probe, first, &report)
}

/// Touches pages all over the BAR. The value of a register of whatever device need not stay the
/// same, but memory must.
private func checkPages(_ probe: Probe, _ wanted: UInt64, _ report: inout Report) {
  let pages = max(1, probe.bar.size >> 12)
  let steps = max(1, min(pages, wanted))
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
    report.check(different == 0, "\(steps) pages keep what is written, \(different) do not")
  } else {
    report.check(true, "\(steps) pages were read")
  }
}

/// Reads and writes in every width that the device takes; parts make up the whole.
private func checkWidths(_ probe: Probe, _ report: inout Report) {
  guard let offset = probe.scratch else {
    report.skip("this device has no register that keeps what is written")
    return
  }
  let address = probe.bar.address + offset
  let mask = probe.scratchMask
  let saved = mmio_load64(address)
  let pattern: UInt64 = 0x1122_3344_5566_7788 & mask
  mmio_store64(address, pattern)
  report.equal(mmio_load64(address) & mask, pattern, "8 bytes written and read")
  let low = UInt32(truncatingIfNeeded: pattern)
  let high = UInt32(truncatingIfNeeded: pattern >> 32)
  if probe.widths & 4 != 0, probe.isMemory || probe.function.classCode == 0x01_0802 {
    report.check(
      mmio_load32(address) == low && mmio_load32(address + 4) == high, "4 bytes at a time read the same")
    mmio_store32(address + 4, high ^ UInt32(truncatingIfNeeded: mask >> 32) & 0xFF)
    report.equal(
      mmio_load64(address) & mask, pattern ^ (mask >> 32 & 0xFF) << 32, "4 bytes written change those 4")
    mmio_store64(address, pattern)
  }
  if probe.widths & 2 != 0 {
    report.equal(mmio_load16(address + 2), 0x5566, "2 bytes read the same")
    mmio_store16(address + 2, 0xA5A5)
    report.equal(mmio_load64(address), 0x1122_3344_A5A5_7788, "2 bytes written change those 2")
  }
  if probe.widths & 1 != 0 {
    report.equal(mmio_load8(address + 7), 0x11, "1 byte reads the same")
    mmio_store8(address + 7, 0x5A)
    report.equal(mmio_load64(address), 0x5A22_3344_A5A5_7788, "1 byte written changes that one")
  }
  mmio_store64(address, saved)
}

/// Memory off: all-ones, and writes go nowhere. On: as it was.
private func checkMemoryOff(_ probe: Probe, _ value: UInt32, _ report: inout Report) {
  let address = probe.bar.address
  let before: UInt64 = 0x0000_1234_5678_9000 & probe.scratchMask
  if let scratch = probe.scratch { mmio_store64(address + scratch, before) }
  let held = probe.isMemory ? UInt32(truncatingIfNeeded: before) : value

  probe.setMemory(false)
  report.equal(probe.function.command & PCIFunction.Command.memory, 0, "memory is off")
  let constant = address + probe.constant
  let closed = probe.closed
  report.equal(mmio_load32(constant), UInt32(truncatingIfNeeded: closed), "off: 4 bytes")
  report.equal(mmio_load16(constant), UInt16(truncatingIfNeeded: closed), "off: 2 bytes")
  report.equal(mmio_load8(constant), UInt8(truncatingIfNeeded: closed), "off: 1 byte")
  report.equal(mmio_load64(address + (probe.scratch ?? 0)), closed, "off: 8 bytes")
  if let scratch = probe.scratch { mmio_store64(address + scratch, ~before) }

  probe.setMemory(true)
  report.equal(probe.value, held, "on again: the value is back")
  if let scratch = probe.scratch {
    report.equal(
      mmio_load64(address + scratch) & probe.scratchMask, before, "on again: no write came through")
  }
}
