// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Two devices at one address: the one whose memory is on answers; when both are, always the same one does, whichever
/// was on or touched first.
func checkOverlap(_ one: Probe, _ two: Probe, _ report: inout Report) {
  let size = max(one.bar.size, two.bar.size)
  let values = (one: one.value, two: two.value)
  guard let place = Placement.find(size: size, above4GiB: false) else {
    report.skip("no place of \(hex: size) bytes for two")
    return
  }
  one.setMemory(false)
  two.setMemory(false)
  _ = one.bar.moved(one.function, to: place)
  _ = two.bar.moved(two.function, to: place)
  var wrong: (one: UInt32, two: UInt32, off: UInt32, both: UInt32, order: UInt32) = (0, 0, 0, 0, 0)
  for _ in 0..<10 {
    one.setMemory(true)
    if mmio_load32(place + one.constant) != values.one { wrong.one += 1 }
    one.setMemory(false)
    if mmio_load32(place + one.constant) != nothing { wrong.off += 1 }
    two.setMemory(true)
    if mmio_load32(place + two.constant) != values.two { wrong.two += 1 }
    one.setMemory(true)
    let both = mmio_load32(place + one.constant)
    two.setMemory(false)
    if mmio_load32(place + one.constant) != values.one { wrong.both += 1 }
    two.setMemory(true)
    if mmio_load32(place + one.constant) != both { wrong.order += 1 }
    _ = mmio_load32(place + two.constant)
    one.setMemory(false)
    if mmio_load32(place + two.constant) != values.two { wrong.both += 1 }
    two.setMemory(false)
  }
  _ = one.bar.moved(one.function, to: one.bar.address)
  _ = two.bar.moved(two.function, to: two.bar.address)
  one.setMemory(true)
  two.setMemory(true)
  report.check(wrong.one == 0 && wrong.two == 0, "over each other: the one that is on answers")
  report.check(wrong.off == 0, "over each other, both off: \(wrong.off) reads gave something")
  report.check(
    wrong.order == 0 || Machine.current.isEmulated,
    "over each other, both on: \(wrong.order) times the order decided")
  report.check(wrong.both == 0, "over each other, both were on: \(wrong.both) wrong reads afterwards")
  report.check(one.value == values.one && two.value == values.two, "apart again: both answer")
}

/// A BAR of less than a page: ivshmem's registers, of which the first keeps what is written.
func checkSmall(_ report: inout Report) {
  guard let function = PCIBus.find(vendor: 0x1AF4, device: 0x1110), let bar = BAR.usable(function, 0),
    bar.size < 4096, let place = Placement.find(size: 4096, above4GiB: false)
  else {
    report.skip("no BAR of less than a page")
    return
  }
  function.setCommand(PCIFunction.Command.memory, true)
  var wrong: (kept: UInt32, old: UInt32) = (0, 0)
  for offset in stride(from: UInt64(0), to: 4096, by: Int(bar.size)) {
    let moved = bar.moved(function, to: place + offset)
    let pattern = 0x00C0_FFEE ^ UInt32(offset)
    mmio_store32(moved.address, pattern)
    if mmio_load32(moved.address) != pattern { wrong.kept += 1 }
    let read = mmio_load32(place + (offset + bar.size) % 4096)
    // At the start of a page the BAR is mapped with the rest of its page, which answers as the host's bus
    // does: all-ones, or 0 where QEMU is the host.
    if read != nothing, offset != 0 || read != 0 { wrong.old += 1 }
  }
  mmio_store32(bar.moved(function, to: bar.address).address, 0)
  report.check(wrong.kept == 0, "\(hex: bar.size) bytes anywhere in a page: \(wrong.kept) wrong reads")
  report.check(wrong.old == 0, "\(wrong.old) reads beside it gave something")
}

/// An I/O BAR: e1000e's, through which its registers are read too (82574 datasheet §10.2.1.2).
func checkPorts(_ report: inout Report) {
  guard let network = E1000e.find(), let bar = BAR.read(network.function, 2), !bar.isMemory else {
    report.skip("no e1000e with an I/O BAR")
    return
  }
  let function = network.function
  function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.io, true)
  let wanted = mmio_load32(network.bar.address + E1000e.Register.receiveAddress)
  let register = UInt32(E1000e.Register.receiveAddress)
  let read = { (port: UInt64) -> UInt32 in
    port_store32(UInt16(port), register)
    return port_load32(UInt16(port) + 4)
  }
  let original = bar.address != 0 ? bar.address : 0xD000
  _ = bar.moved(function, to: original)
  report.note("\(bar)")
  report.check(read(original) == wanted, "the I/O BAR at \(hex: original) answers")
  report.equal(port_load32(UInt16(original)), register, "its address register keeps what is written")
  for place in [0xE000, 0xE000 + bar.size] {
    _ = bar.moved(function, to: place)
    report.check(read(place) == wanted, "moved to \(hex: place) it answers")
    report.equal(port_load32(UInt16(original)), .max, "nothing is left at the old place")
  }
  _ = bar.moved(function, to: original)
  function.setCommand(PCIFunction.Command.io, false)
  report.equal(port_load32(UInt16(original) + 4), .max, "I/O off: all-ones")
  report.equal(
    mmio_load32(network.bar.address + E1000e.Register.receiveAddress), wanted, "I/O off: memory answers")
  function.setCommand(PCIFunction.Command.io, true)
  report.equal(read(original), wanted, "I/O on again: it answers")
  function.setCommand(PCIFunction.Command.memory, false)
  report.equal(port_load32(UInt16(original)), register, "memory off: I/O answers")
  function.setCommand(PCIFunction.Command.memory, true)
  function.setCommand(PCIFunction.Command.io, false)
}
