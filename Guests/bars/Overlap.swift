// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Moves two devices to one address. The device with memory on answers. If memory of both is on, always the
/// same device answers, regardless of the order in which they were turned on or accessed.
func checkOverlap(_ one: Probe, _ two: Probe, _ report: inout Report) {
  let size = max(one.bar.size, two.bar.size)
  let values = (one: one.value, two: two.value)
  guard let target = Placement.find(size: size, above4GiB: false) else {
    report.skip("no free range of \(hex: size) bytes for two BARs")
    return
  }
  one.setMemory(false)
  two.setMemory(false)
  _ = one.bar.moved(one.function, to: target)
  _ = two.bar.moved(two.function, to: target)
  var wrong: (one: UInt32, two: UInt32, off: UInt32, both: UInt32, order: UInt32) = (0, 0, 0, 0, 0)
  for _ in 0..<10 {
    one.setMemory(true)
    if mmio_load32(target + one.constant) != values.one { wrong.one += 1 }
    one.setMemory(false)
    if mmio_load32(target + one.constant) != nothing { wrong.off += 1 }
    two.setMemory(true)
    if mmio_load32(target + two.constant) != values.two { wrong.two += 1 }
    one.setMemory(true)
    let both = mmio_load32(target + one.constant)
    two.setMemory(false)
    if mmio_load32(target + one.constant) != values.one { wrong.both += 1 }
    two.setMemory(true)
    if mmio_load32(target + one.constant) != both { wrong.order += 1 }
    _ = mmio_load32(target + two.constant)
    one.setMemory(false)
    if mmio_load32(target + two.constant) != values.two { wrong.both += 1 }
    two.setMemory(false)
  }
  _ = one.bar.moved(one.function, to: one.bar.address)
  _ = two.bar.moved(two.function, to: two.bar.address)
  one.setMemory(true)
  two.setMemory(true)
  report.check(wrong.one == 0 && wrong.two == 0, "overlap: the device with memory on answers")
  report.check(wrong.off == 0, "overlap, both off: \(wrong.off) reads returned data")
  report.check(
    wrong.order == 0 || Machine.current.isEmulated,
    "overlap, both on: the order changed \(wrong.order) results")
  report.check(wrong.both == 0, "overlap, one off again: \(wrong.both) wrong reads")
  report.check(one.value == values.one && two.value == values.two, "separate again: both answer")
}

/// Moves a BAR smaller than a page: the BAR of ivshmem's registers. The first register keeps written values.
func checkSmall(_ report: inout Report) {
  guard let function = PCIBus.find(vendor: 0x1AF4, device: 0x1110), let bar = BAR.usable(function, 0),
    bar.size < 4096, let target = Placement.find(size: 4096, above4GiB: false)
  else {
    report.skip("no BAR smaller than a page")
    return
  }
  function.setCommand(PCIFunction.Command.memory, true)
  var wrong: (kept: UInt32, old: UInt32) = (0, 0)
  for offset in stride(from: UInt64(0), to: 4096, by: Int(bar.size)) {
    let moved = bar.moved(function, to: target + offset)
    let pattern = 0x00C0_FFEE ^ UInt32(offset)
    mmio_store32(moved.address, pattern)
    if mmio_load32(moved.address) != pattern { wrong.kept += 1 }
    let read = mmio_load32(target + (offset + bar.size) % 4096)
    // At the start of a page the BAR is mapped with the rest of its page. The rest answers like the host's
    // bus: all-ones, or 0 if QEMU emulates the host.
    if read != nothing, offset != 0 || read != 0 { wrong.old += 1 }
  }
  mmio_store32(bar.moved(function, to: bar.address).address, 0)
  report.check(
    wrong.kept == 0, "BAR of \(hex: bar.size) bytes at any offset in a page: \(wrong.kept) wrong reads")
  report.check(wrong.old == 0, "\(wrong.old) reads next to the BAR returned data")
}

/// Checks e1000e's I/O BAR, which also gives access to its registers (82574 datasheet §10.2.1.2).
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
  report.equal(port_load32(UInt16(original)), register, "the address register keeps the written value")
  for target in [0xE000, 0xE000 + bar.size] {
    _ = bar.moved(function, to: target)
    report.check(read(target) == wanted, "the I/O BAR answers after a move to \(hex: target)")
    report.equal(port_load32(UInt16(original)), .max, "the old ports are unclaimed")
  }
  _ = bar.moved(function, to: original)
  function.setCommand(PCIFunction.Command.io, false)
  report.equal(port_load32(UInt16(original) + 4), .max, "I/O off: all-ones")
  report.equal(
    mmio_load32(network.bar.address + E1000e.Register.receiveAddress), wanted, "I/O off: memory answers")
  function.setCommand(PCIFunction.Command.io, true)
  report.equal(read(original), wanted, "I/O on again: the I/O BAR answers")
  function.setCommand(PCIFunction.Command.memory, false)
  report.equal(port_load32(UInt16(original)), register, "memory off: I/O answers")
  function.setCommand(PCIFunction.Command.memory, true)
  function.setCommand(PCIFunction.Command.io, false)
}
