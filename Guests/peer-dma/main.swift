// SPDX-License-Identifier: Apache-2.0

// Shows when one device's DMA reaches the BAR of another: not before the first touch (or before it,
// as the policy says), after it, not while the other's memory is off, and after that as before. Where
// it does not reach no byte changes. At the end neighbouring windows that were touched once are reached again when
// one of them is. Run by the lab case `peer-dma`. Needs QEMU's edu and ivshmem.
//
// Command line: `untouched=1` when the DMA has to arrive before the first touch; `touched=0` when it
// has to arrive never; `pause=N` milliseconds with memory off, for the host to look; `cycles=N` (1);
// `emulated=1` under QEMU alone.

import Hardware

private let size: UInt64 = 2048
private let sourcePage: UInt32 = 0
private let targetPage: UInt32 = 1
/// Bytes of a window of a BAR of 256 MiB, and how many of them are touched together.
private let window: UInt64 = 2 << 20
private let neighbours: UInt64 = 4

func guest(_ machine: Machine, _ report: inout Report) {
  guard let edu = Edu.find(machine.commandLine),
    let memory = PCIBus.find(vendor: 0x1AF4, device: 0x1110), let bar = BAR.usable(memory, 2)
  else {
    report.check(false, "an edu and an ivshmem")
    return
  }
  report.note("\(edu.function) to \(memory) \(bar)")
  edu.function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  memory.setCommand(PCIFunction.Command.memory, true)
  let untouched = machine.commandLine.number("untouched") == 1
  let touched = machine.commandLine.number("touched") != 0
  var peer = Peer(edu: edu, memory: memory, bar: bar, seed: time_stamp() | 1)

  peer.check("before the first touch", arrives: untouched, &report)
  // The comparison has touched it.
  peer.check("touched", arrives: touched, &report)
  if touched { peer.checkOtherWay(&report) }
  for _ in 0..<(machine.commandLine.number("cycles") ?? 1) {
    peer.checkOff(machine.commandLine.number("pause") ?? 0, &report)
    memory.setCommand(PCIFunction.Command.memory, true)
    peer.check("on again, before a touch", arrives: untouched, &report)
    peer.check("on again and touched", arrives: touched, &report)
  }
  if touched { peer.checkNeighbours(&report) }
}

/// The two devices.
private struct Peer {
  let edu: Edu
  let memory: PCIFunction
  let bar: BAR
  /// What the next transfer's bytes are made of.
  var seed: UInt64
  /// Where the next transfer goes: another page each time, so that faults can be told apart.
  var offset: UInt64 = 0x1000

  init(edu: Edu, memory: PCIFunction, bar: BAR, seed: UInt64) {
    (self.edu, self.memory, self.bar, self.seed) = (edu, memory, bar, seed)
  }

  /// Moves new bytes from RAM into edu, and from there to the other device's next page; its address.
  private mutating func send(_ report: inout Report) -> UInt64 {
    offset += 0x1000
    return send(to: bar.address + offset, &report)
  }

  private mutating func send(to target: UInt64, _ report: inout Report) -> UInt64 {
    seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let source = dma_page(sourcePage)
    for word in 0..<size / 8 { mmio_store64(source + word * 8, seed ^ word &* 0x0101_0101_0101_0101) }
    let isDone =
      edu.transfer(from: source, to: Edu.memory, size, .toDevice)
      && edu.transfer(from: Edu.memory, to: target, size, .toMemory)
    if !isDone { report.check(false, "a transfer ends") }
    return target
  }

  /// How many words at an address are the ones that were sent.
  private func arrived(_ target: UInt64) -> UInt64 {
    var count: UInt64 = 0
    for word in 0..<size / 8 where mmio_load64(target + word * 8) == seed ^ word &* 0x0101_0101_0101_0101 {
      count += 1
    }
    return count
  }

  /// One transfer, which arrives whole or not at all; looking at it is the first touch.
  mutating func check(_ text: StaticString, arrives: Bool, _ report: inout Report) {
    let target = send(&report)
    if !arrives { fault(target, report) }
    let count = arrived(target)
    report.check(count == (arrives ? size / 8 : 0), "\(text): \(count) of \(size / 8) words arrived")
  }

  /// The host finds the address in its log. The IOMMU forgets faults that follow each other at once.
  private func fault(_ target: UInt64, _ report: borrowing Report) {
    report.note("fault \(hex: target)")
    Time.wait(milliseconds: 300)
  }

  /// With memory off nothing arrives, and nothing has changed when it is on.
  mutating func checkOff(_ pause: UInt64, _ report: inout Report) {
    for word in 0..<size / 8 { mmio_store64(bar.address + offset + 0x1000 + word * 8, ~word) }
    memory.setCommand(PCIFunction.Command.memory, false)
    if pause > 0 {
      report.note("memory is off")
      Time.wait(milliseconds: pause)
    }
    report.check(Machine.current.isEmulated || mmio_load64(bar.address) == .max, "memory off: all-ones")
    let target = send(&report)
    fault(target, report)
    memory.setCommand(PCIFunction.Command.memory, true)
    var changed: UInt64 = 0
    for word in 0..<size / 8 where mmio_load64(target + word * 8) != ~word { changed += 1 }
    report.check(changed == 0, "memory off: \(changed) words changed")
    // What follows is to be the first touch after memory came on.
    memory.setCommand(PCIFunction.Command.memory, false)
  }

  /// Touches neighbouring windows, turns memory off and on and touches one of them: the device reaches all, at the
  /// right places, and so does the CPU.
  mutating func checkNeighbours(_ report: inout Report) {
    let first = bar.address + 8 * window
    for index in 0..<neighbours { mmio_store64(first + index * window, index) }
    memory.setCommand(PCIFunction.Command.memory, false)
    memory.setCommand(PCIFunction.Command.memory, true)
    report.equal(mmio_load64(first + window), 1, "neighbours: the one that is touched is as it was")
    var count: UInt64 = 0
    for index in 0..<neighbours {
      let target = send(to: first + index * window + 0x1000, &report)
      count += arrived(target)
    }
    let all = neighbours * size / 8
    report.check(count == all, "neighbours: \(count) of \(all) words arrived")
    var kept: UInt64 = 0
    for index in 0..<neighbours where mmio_load64(first + index * window) == index { kept += 1 }
    report.check(kept == neighbours, "neighbours: \(kept) of \(neighbours) are as they were")
  }

  /// From the other device into RAM.
  mutating func checkOtherWay(_ report: inout Report) {
    let target = dma_page(targetPage)
    let source = bar.address + offset
    let isDone =
      edu.transfer(from: source, to: Edu.memory, size, .toDevice)
      && edu.transfer(from: Edu.memory, to: target, size, .toMemory)
    report.check(isDone && arrived(target) == size / 8, "the other way: \(arrived(target)) words arrived")
  }
}
