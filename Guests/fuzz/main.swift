// SPDX-License-Identifier: Apache-2.0

// Performs random accesses on up to four processors, determined by a seed: ports, configuration space through
// ports and ECAM, BARs in every state and at many addresses, MSI-X tables, power states, resets, and
// instructions of every kind. It omits ports that end the VM, and values that would make QEMU's devices start
// DMA or end QEMU. Run by the lab case `fuzz-guest`.
//
// Without a function it accesses only ports and the ECAM, which needs no IOMMU.
//
// Command line: `seed=N` (1); `events=N` is the number of events of the first processor. Without it, the
// guest runs until it receives a `q` on the serial port.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let seed = machine.commandLine.number("seed") ?? 1
  guard let ecam = machine.tables.ecam?.base, PageMap.map(ecam, size: 2 << 20) else {
    report.check(false, "an ECAM is present")
    return
  }
  shared_store(Table.seed, seed)
  shared_store(Table.ecam, ecam)
  Table.prepare()
  RandomAddresses.prepare()
  let count = UInt32(truncatingIfNeeded: shared_load(Table.count))
  report.note("\(count) functions")
  execution_initialize()
  execution_allow_user()
  for number in 0..<count {
    mmio_store16(ecam + Table.function(number).base + 4, 3)
  }
  let version = mmio_load32(0xFEE0_0030)
  var processors: UInt32 = 1
  for processor in 1..<UInt32(PROCESSORS) where Processor.start(processor) { processors += 1 }
  interrupts_off()
  // This line shows the host that the guest has begun. The other processors start after it.
  report.note("seed \(seed), \(processors) processors")
  for processor in 1..<processors { Processor.run(processor) { work($0) } }
  var actor = Actor(0)
  let events = machine.commandLine.number("events") ?? .max
  var done: UInt64 = 0
  var hidden: UInt64 = 0
  while done < events {
    actor.step()
    done += 1
    guard done % 64 == 0 else { continue }
    if mmio_load32(ecam) != 0x0008_1B36 || mmio_load32(0xFEE0_0030) != version { hidden += 1 }
    restoreSerialPort()
    if Console.read() == 0x71 { break }
  }
  shared_store(Table.stop, 1)
  let isStopped = Time.wait(milliseconds: 20_000) {
    var stopped: UInt32 = 1
    for processor in 1..<processors where shared_load(Table.stopped(processor)) != 0 { stopped += 1 }
    return stopped == processors
  }
  restoreSerialPort()
  Console.print("")
  report.check(isStopped, "\(processors) processors stop")
  report.check(hidden == 0, "a BAR hid the ECAM or the local APIC \(hidden) times")
  for event in Event.allCases {
    var sum: UInt64 = 0
    for processor in 0..<processors { sum += shared_load(Table.events(processor, event.rawValue)) }
    report.note("event \(event.name) \(sum)")
  }
  for number in 0..<count { restore(Table.function(number), ecam, &report) }
}

/// The work of the other processors.
private func work(_ processor: UInt32) {
  execution_initialize()
  LocalAPIC.enable()
  interrupts_off()
  var actor = Actor(processor)
  while shared_load(Table.stop) == 0 { actor.step() }
  shared_store(Table.stopped(processor), 1)
  while true { halt() }
}

/// Sets the serial port to eight bits, without loopback or interrupts.
private func restoreSerialPort() {
  port_store8(0x3FB, 3)
  port_store8(0x3FC, 0)
  port_store8(0x3F9, 0)
}

/// Restores a function: D0, its BARs' original addresses, memory on. Checks that it answers again.
private func restore(_ function: Table.Function, _ ecam: UInt64, _ report: inout Report) {
  let address = PCIFunction(slot: function.slot, function: 0)
  if function.power != 0 { address.store16(function.power + 4, 0) }
  Time.wait(milliseconds: 120)
  address.store16(PCIFunction.Register.command, 0)
  for index in 0..<UInt8(6) {
    guard let bar = function.bar(index) else { continue }
    address.store32(PCIFunction.Register.firstBAR + UInt16(index) * 4, UInt32(truncatingIfNeeded: bar.home))
    if bar.is64Bit {
      address.store32(PCIFunction.Register.firstBAR + UInt16(index) * 4 + 4, UInt32(bar.home >> 32))
    }
  }
  address.store16(PCIFunction.Register.command, 2)
  let identity = mmio_load32(ecam + function.base)
  report.check(
    identity != .max && address.load32(0) == identity && address.command == 2,
    "slot \(function.slot): \(hex: identity), COMMAND \(hex: address.command)")
  if identity == 0x11E8_1234, let bar = function.bar(0) {
    let value = mmio_load32(bar.home)
    report.check(value == 0x0100_00ED, "edu reads \(hex: value)")
  }
  if identity == 0x1110_1AF4, let bar = function.bar(2) {
    mmio_store64(bar.home + 0x1000, 0x5EA1_ED00)
    report.check(mmio_load64(bar.home + 0x1000) == 0x5EA1_ED00, "ivshmem keeps a written value")
  }
}
