// SPDX-License-Identifier: Apache-2.0

// Shows when a device's DMA reaches another device's BAR. It does not reach the BAR before the first access,
// unless the policy maps it earlier. It reaches the BAR after the access, but not while the other device's
// memory is off. The same holds after memory is on again. A transfer that does not reach the BAR changes no
// byte. At the end, after memory off and on, an access to one of several neighbouring windows makes all of
// them reachable. Run by the lab case `peer-dma`. Needs QEMU's edu and ivshmem.
//
// Command line: `untouched=1` if the DMA must arrive before the first access; `touched=0` if it must never
// arrive; `spacing=N` (300) is the time between faults in milliseconds; `pause=N` is the time with memory off
// in milliseconds, for checks by the host; `cycles=N` (1) is the number of times that memory goes off and on;
// `armed=0` leaves out the transfer between memory on and the first access; `emulated=1` directly under QEMU.

import Hardware

private let size: UInt64 = 2048
private let sourcePage: UInt32 = 0
private let targetPage: UInt32 = 1
/// The size in bytes of a window of a 256 MiB BAR, and the number of windows that are accessed together.
private let window: UInt64 = 2 << 20
private let neighbours: UInt64 = 4

func guest(_ machine: Machine, _ report: inout Report) {
  guard let edu = Edu.find(machine.commandLine),
    let memory = PCIBus.find(vendor: 0x1AF4, device: 0x1110), let bar = BAR.usable(memory, 2)
  else {
    report.check(false, "an edu and an ivshmem are present")
    return
  }
  report.note("\(edu.function) to \(memory) \(bar)")
  edu.function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  memory.setCommand(PCIFunction.Command.memory, true)
  let untouched = machine.commandLine.number("untouched") == 1
  let touched = machine.commandLine.number("touched") != 0
  var peer = Peer(edu: edu, memory: memory, bar: bar, seed: time_stamp() | 1)
  peer.spacing = machine.commandLine.number("spacing") ?? 300

  peer.check("before the first access", arrives: untouched, &report)
  // The comparison was the first access.
  peer.check("after the first access", arrives: touched, &report)
  if touched { peer.checkReverse(&report) }
  for _ in 0..<(machine.commandLine.number("cycles") ?? 1) {
    peer.checkOff(machine.commandLine.number("pause") ?? 0, &report)
    memory.setCommand(PCIFunction.Command.memory, true)
    if machine.commandLine.number("armed") != 0 {
      peer.check("on again, before an access", arrives: untouched, &report)
    } else {
      _ = mmio_load64(bar.address)
    }
    peer.check("on again, after an access", arrives: touched, &report)
  }
  if touched { peer.checkNeighbours(&report) }
}

/// edu and the peer device.
private struct Peer {
  let edu: Edu
  let memory: PCIFunction
  let bar: BAR
  /// The seed of the next transfer's bytes.
  var seed: UInt64
  /// The offset of the last transfer's target. Each transfer has a separate page, so that each fault has a
  /// separate address.
  var offset: UInt64 = 0x1000
  /// The time between faults in milliseconds.
  var spacing: UInt64 = 300

  init(edu: Edu, memory: PCIFunction, bar: BAR, seed: UInt64) {
    (self.edu, self.memory, self.bar, self.seed) = (edu, memory, bar, seed)
  }

  /// Transfers new bytes from RAM into edu, and from edu to the next page of the other device. Returns the
  /// page's address.
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

  /// Counts the words at an address that equal the sent words.
  private func arrived(_ target: UInt64) -> UInt64 {
    var count: UInt64 = 0
    for word in 0..<size / 8 where mmio_load64(target + word * 8) == seed ^ word &* 0x0101_0101_0101_0101 {
      count += 1
    }
    return count
  }

  /// Checks that a transfer arrives as a whole or not at all. The check itself is the first access.
  mutating func check(_ text: StaticString, arrives: Bool, _ report: inout Report) {
    let target = send(&report)
    if !arrives { fault(target, report) }
    let count = arrived(target)
    report.check(count == (arrives ? size / 8 : 0), "\(text): \(count) of \(size / 8) words arrived")
  }

  /// Reports an address at which the host expects an IOMMU fault in its log. Waits, because the IOMMU drops
  /// faults in quick succession.
  private func fault(_ target: UInt64, _ report: borrowing Report) {
    report.note("fault \(hex: target)")
    Time.wait(milliseconds: spacing)
  }

  /// Checks that a transfer with memory off changes nothing.
  mutating func checkOff(_ pause: UInt64, _ report: inout Report) {
    for word in 0..<size / 8 { mmio_store64(bar.address + offset + 0x1000 + word * 8, ~word) }
    memory.setCommand(PCIFunction.Command.memory, false)
    if pause > 0 {
      report.note("memory is off")
      Time.wait(milliseconds: pause)
    }
    report.check(
      Machine.current.isEmulated || mmio_load64(bar.address) == .max, "memory off: reads return all-ones")
    let target = send(&report)
    fault(target, report)
    memory.setCommand(PCIFunction.Command.memory, true)
    var changed: UInt64 = 0
    for word in 0..<size / 8 where mmio_load64(target + word * 8) != ~word { changed += 1 }
    report.check(changed == 0, "memory off: \(changed) words changed")
    // Turn memory off again: the caller's next access must be the first one after memory on.
    memory.setCommand(PCIFunction.Command.memory, false)
  }

  /// Accesses neighbouring windows, turns memory off and on, and accesses one of them. The device and the CPU
  /// then reach all of them, at the correct addresses.
  mutating func checkNeighbours(_ report: inout Report) {
    let first = bar.address + 8 * window
    for index in 0..<neighbours { mmio_store64(first + index * window, index) }
    memory.setCommand(PCIFunction.Command.memory, false)
    memory.setCommand(PCIFunction.Command.memory, true)
    report.equal(mmio_load64(first + window), 1, "neighbours: the accessed window keeps its value")
    var count: UInt64 = 0
    for index in 0..<neighbours {
      let target = send(to: first + index * window + 0x1000, &report)
      count += arrived(target)
    }
    let all = neighbours * size / 8
    report.check(count == all, "neighbours: \(count) of \(all) words arrived")
    var kept: UInt64 = 0
    for index in 0..<neighbours where mmio_load64(first + index * window) == index { kept += 1 }
    report.check(kept == neighbours, "neighbours: \(kept) of \(neighbours) windows keep their values")
  }

  /// Checks a transfer from the other device to RAM.
  mutating func checkReverse(_ report: inout Report) {
    let target = dma_page(targetPage)
    let source = bar.address + offset
    let isDone =
      edu.transfer(from: source, to: Edu.memory, size, .toDevice)
      && edu.transfer(from: Edu.memory, to: target, size, .toMemory)
    report.check(
      isDone && arrived(target) == size / 8, "from the other device to RAM: \(arrived(target)) words arrived")
  }
}
