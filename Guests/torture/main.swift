// SPDX-License-Identifier: Apache-2.0

// Tortures the gate: four processors use four devices while their memory goes off and on, their BARs
// move, they are reset and put to sleep, their interrupts change their ways, and a host process does
// things to them that nobody was told of. What must hold is counted. Run by the lab case `torture`
// and by `Tests/lab torture`. Needs an NVMe drive, e1000e, edu, ivshmem and four processors.
//
// Command line: `seed=N` (1), the same schedule for the same seed; `events=N`, else until a `q` comes
// in on the serial port; `outside=1` when a host follows the lines `outside KIND DEVICE` and answers
// each with a byte; `emulated=1` under QEMU alone.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let seed = machine.commandLine.number("seed") ?? 1
  let ecam = machine.tables.ecam?.base
  if let ecam, !PageMap.map(ecam, size: 1 << 20) { report.check(false, "ECAM mapped") }
  shared_store(Shared.seed, seed)
  let drive = Target(Device.drive, PCIBus.first { $0.classCode == 0x01_0802 }, ecam: ecam)
  let network = Target(Device.network, PCIBus.find(vendor: 0x8086, device: 0x10D3), ecam: ecam)
  let edu = Target(Device.edu, PCIBus.find(vendor: 0x1234, device: 0x11E8), ecam: ecam)
  let memory = Target(Device.memory, PCIBus.find(vendor: 0x1AF4, device: 0x1110), ecam: ecam)
  guard let drive, let network, let edu, let memory else {
    report.check(false, "an NVMe drive, e1000e, edu and ivshmem")
    return
  }
  guard let causes = Causes(edu, network), let table = MSIX(drive.function) else {
    report.check(false, "interrupts of edu, e1000e and the drive")
    return
  }
  var commands = Drive(drive, table)
  guard commands.start() else {
    report.check(false, "the drive is ready")
    return
  }
  for processor in 1..<Shared.processors {
    Words(processor).prepare(memory.bar.address)
    guard Processor.start(processor) else {
      report.check(false, "processor \(processor)")
      return
    }
    Processor.run(processor) { work($0) }
  }
  // What is closed reads as 0 there.
  for device in 0..<Device.count where machine.isEmulated { shared_store(Shared.isForeign(device), 1) }
  var schedule = Schedule(
    targets: [drive, network, edu, memory], causes: causes, drive: commands, seed: seed,
    hasOutside: machine.commandLine.number("outside") == 1, isEmulated: machine.isEmulated)
  let events = machine.commandLine.number("events") ?? .max
  report.note("seed \(seed)")
  while schedule.done < events, Console.read() != 0x71 { schedule.step() }
  shared_store(Shared.stop, 1)
  LocalAPIC.interruptOthers(Vector.wake)
  let stopped = Time.wait(milliseconds: 10_000) { Tally.stopped.sum == UInt64(Shared.processors) - 1 }
  report.check(stopped, "the other processors stopped")
  schedule.finish(&report)
  tell(&report)
}

/// What the processors counted.
private func tell(_ report: inout Report) {
  let reads = Tally.values.sum + Tally.closed.sum + Tally.foreign.sum
  report.note("invariant reads \(reads + Tally.wrong.sum)")
  report.note("invariant writes \(Tally.writes.sum)")
  report.note("invariant certain \(Tally.certain.sum)")
  report.note(
    "reads: \(Tally.values.sum) values, \(Tally.closed.sum) all-ones, \(Tally.foreign.sum) zeros of the platform"
  )
  for processor in UInt32(0)..<4 where shared_load(Shared.tally(processor, .address)) != 0 {
    report.note(
      "processor \(processor): first at \(hex: shared_load(Shared.tally(processor, .address))) read \(hex: shared_load(Shared.tally(processor, .read)))"
    )
  }
  report.check(Tally.values.sum > 0 && Tally.writes.sum > 0, "there was something to judge")
  report.check(Tally.wrong.sum == 0, "\(Tally.wrong.sum) reads gave neither value nor all-ones")
  // QEMU lets a processor see a BAR some time after another has turned it on.
  let isCertain = Tally.uncertain.sum == 0 || Machine.current.isEmulated
  report.check(isCertain, "\(Tally.uncertain.sum) accesses were wrong while nothing changed")
  report.check(Tally.stale.sum == 0, "\(Tally.stale.sum) words of shared memory were wrong")
}
