// SPDX-License-Identifier: Apache-2.0

// Stress test of the gate. Four processors use four devices. Concurrently, the devices' memory goes off and
// on, BARs move, devices are reset and enter D3hot, interrupts change their mode, and a host process changes
// the devices without notice. The guest counts violations of the invariants. Run by the lab case `torture`
// and by `Tests/lab torture`. Needs an NVMe drive, e1000e, edu, ivshmem and four processors.
//
// Command line: `seed=N` (1) determines the schedule; `events=N` is the number of events, and without it the
// guest runs until it receives a `q` on the serial port; `peers=0` if devices cannot reach each other; `outside=1` if a host
// process performs the requests of the lines `outside KIND DEVICE` and answers each with an `o`. If the drive is behind a root port, its slot is reset
// too, the host injects errors, removes, adds and replaces the drive, and at the end requests the drive; `slots=N` (1) if
// only one of N such changes is made; `emulated=1` directly under QEMU.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let seed = machine.commandLine.number("seed") ?? 1
  let ecam = machine.tables.ecam?.base
  if let ecam, !PageMap.map(ecam, size: 2 << 20) { report.check(false, "ECAM is mapped") }
  shared_store(Shared.seed, seed)
  let drive = Target(Device.drive, PCIBus.first { $0.classCode == 0x01_0802 }, ecam: ecam)
  let network = Target(Device.network, PCIBus.find(vendor: 0x8086, device: 0x10D3), ecam: ecam)
  let edu = Target(Device.edu, PCIBus.find(vendor: 0x1234, device: 0x11E8), ecam: ecam)
  let memory = Target(Device.memory, PCIBus.find(vendor: 0x1AF4, device: 0x1110), ecam: ecam)
  guard let drive, let network, let edu, let memory else {
    report.check(false, "an NVMe drive, e1000e, edu and ivshmem are present")
    return
  }
  guard let causes = Causes(edu, network), let table = MSIX(drive.function) else {
    report.check(false, "edu, e1000e and the drive have usable interrupts")
    return
  }
  var commands = Drive(drive, table)
  guard commands.start() else {
    report.check(false, "the drive becomes ready")
    return
  }
  for processor in 1..<Shared.processors {
    Words(processor).prepare(memory.bar.address)
    guard Processor.start(processor) else {
      report.check(false, "processor \(processor) starts")
      return
    }
    Processor.run(processor) { work($0) }
  }
  // Directly under QEMU, a closed register reads 0.
  for device in 0..<Device.count where machine.isEmulated { shared_store(Shared.isChangedByHost(device), 1) }
  var schedule = Schedule(
    targets: [drive, network, edu, memory], causes: causes, drive: commands, seed: seed,
    hasPeers: machine.commandLine.number("peers") != 0,
    hasOutside: machine.commandLine.number("outside") == 1,
    slotInterval: max(1, machine.commandLine.number("slots") ?? 1), isEmulated: machine.isEmulated)
  let events = machine.commandLine.number("events") ?? .max
  report.note("seed \(seed)")
  while schedule.done < events, Console.read() != 0x71 { schedule.step() }
  if schedule.hasOutside { schedule.release(Int(Device.drive), for: .removal) }
  shared_store(Shared.stop, 1)
  LocalAPIC.interruptOthers(Vector.wake)
  let stopped = Time.wait(milliseconds: 10_000) { Tally.stopped.sum == UInt64(Shared.processors) - 1 }
  report.check(stopped, "the other processors stop")
  schedule.finish(&report)
  reportCounts(&report)
}

/// Reports the counts of all processors.
private func reportCounts(_ report: inout Report) {
  let reads = Tally.values.sum + Tally.closed.sum + Tally.zeroReads.sum
  report.note("invariant reads \(reads + Tally.wrong.sum)")
  report.note("invariant writes \(Tally.writes.sum)")
  report.note("invariant certain \(Tally.certain.sum)")
  report.note(
    "reads: \(Tally.values.sum) values, \(Tally.closed.sum) all-ones, \(Tally.zeroReads.sum) zeros from the platform"
  )
  for processor in UInt32(0)..<4 where shared_load(Shared.tally(processor, .address)) != 0 {
    report.note(
      "processor \(processor): first at \(hex: shared_load(Shared.tally(processor, .address))) read \(hex: shared_load(Shared.tally(processor, .read)))"
    )
  }
  report.check(Tally.values.sum > 0 && Tally.writes.sum > 0, "the processors read and wrote")
  report.check(Tally.wrong.sum == 0, "\(Tally.wrong.sum) reads returned neither the value nor all-ones")
  // Directly under QEMU, a BAR becomes visible to a processor some time after another processor turned it on.
  let isCertain = Tally.uncertain.sum == 0 || Machine.current.isEmulated
  report.check(isCertain, "\(Tally.uncertain.sum) accesses were wrong although nothing changed")
  report.check(Tally.stale.sum == 0, "\(Tally.stale.sum) words of shared memory were wrong")
}
