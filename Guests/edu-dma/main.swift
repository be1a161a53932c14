// SPDX-License-Identifier: Apache-2.0

// Shows that a device's DMA transfers each byte to and from the guest's memory, and none while bus mastering
// is off. Run by the lab case `edu-dma`. Needs QEMU's edu device (QEMU's docs/specs/edu.rst).
//
// Command line: `device=slot`, else the first edu; `bytes=N` (2048, the maximum).

import Hardware

private let sourcePage: UInt32 = 0
private let targetPage: UInt32 = 1
private let guardByte: UInt8 = 0xC3

func guest(_ machine: Machine, _ report: inout Report) {
  guard let edu = Edu.find(machine.commandLine) else {
    report.check(false, "an edu is present")
    return
  }
  let function = edu.function
  function.setCommand(PCIFunction.Command.memory, true)
  function.setCommand(PCIFunction.Command.busMaster, true)
  let size = min(machine.commandLine.number("bytes") ?? Edu.longestTransfer, Edu.longestTransfer)
  let source = dma_page(sourcePage)
  let target = dma_page(targetPage)
  report.note("slot \(function.slot), \(size) bytes from \(hex: source) to \(hex: target)")

  fill(source, seed: 1)
  clear(target)
  let sent = edu.transfer(from: source, to: Edu.memory, size, .toDevice)
  report.check(sent, "the transfer to the device ends")
  guard sent else { return }
  let received = edu.transfer(from: Edu.memory, to: target, size, .toMemory)
  report.check(received, "the transfer to memory ends")
  guard received else { return }
  report.equal(differences(source, target, size), 0, "the received bytes equal the sent bytes")
  report.check(isClear(target, from: size), "no byte after them changed")

  // Bus mastering off: the device may start a transfer, but no byte changes.
  function.setCommand(PCIFunction.Command.busMaster, false)
  report.equal(function.command & PCIFunction.Command.busMaster, 0, "bus mastering is off")
  clear(target)
  _ = edu.transfer(from: Edu.memory, to: target, size, .toMemory)
  report.check(isClear(target, from: 0), "bus mastering off: no byte in memory changed")

  function.setCommand(PCIFunction.Command.busMaster, true)
  fill(source, seed: 2)
  report.check(
    edu.transfer(from: source, to: Edu.memory, size, .toDevice)
      && edu.transfer(from: Edu.memory, to: target, size, .toMemory), "on again: both transfers end")
  report.equal(differences(source, target, size), 0, "on again: the received bytes equal the sent bytes")
  function.setCommand(PCIFunction.Command.busMaster, false)
}

private func fill(_ page: UInt64, seed: UInt8) {
  var value = seed
  for offset in UInt64(0)..<4096 {
    mmio_store8(page + offset, value)
    value = value &* 5 &+ 7 &+ UInt8(truncatingIfNeeded: offset >> 8)
  }
}

private func clear(_ page: UInt64) {
  for offset in UInt64(0)..<4096 { mmio_store8(page + offset, guardByte) }
}

private func isClear(_ page: UInt64, from start: UInt64) -> Bool {
  for offset in start..<4096 where mmio_load8(page + offset) != guardByte { return false }
  return true
}

private func differences(_ left: UInt64, _ right: UInt64, _ size: UInt64) -> UInt64 {
  var count: UInt64 = 0
  for offset in 0..<size where mmio_load8(left + offset) != mmio_load8(right + offset) { count += 1 }
  return count
}
