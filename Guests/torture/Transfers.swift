// SPDX-License-Identifier: Apache-2.0

import Hardware

/// edu's transfers, which run concurrently with all other events. Each transfers all of its bytes, or none if
/// bus mastering or memory was off during it.
struct Transfers {
  /// The phases: no transfer, RAM to edu, edu to its target.
  private enum Phase {
    case idle, filling, sending
  }

  /// True if edu reaches shared memory. Otherwise each target is RAM.
  private let hasPeers: Bool
  private var phase = Phase.idle
  private var toMemory = false
  /// True if edu's bus mastering was off during the transfer.
  private var wasStopped = false
  /// The epoch of shared memory at the start of the transfer.
  private var epoch: UInt64 = 0
  private var seed: UInt64 = 0
  private(set) var done: UInt64 = 0
  private(set) var moved: UInt64 = 0
  private(set) var partial: UInt64 = 0
  private(set) var missing: UInt64 = 0

  private static let size: UInt64 = 2048
  private static let sourcePage: UInt32 = 8
  private static let targetPage: UInt32 = 9
  /// The offset of the transfers' target in shared memory.
  private static let offset: UInt64 = 8 << 20
  private static let filler: UInt64 = 0xA5A5_5A5A_C3C3_3C3C

  init(hasPeers: Bool) { self.hasPeers = hasPeers }

  private func word(_ index: UInt64) -> UInt64 { seed ^ index &* 0x0101_0101_0101_0101 }

  private func target(_ memory: Target) -> UInt64 {
    toMemory ? memory.bar.address + Self.offset : dma_page(Self.targetPage)
  }

  /// Performs the next step: starts a transfer, ends it, or turns bus mastering off and on. Memory of both
  /// devices must be on.
  mutating func step(_ edu: Target, _ memory: Target, _ random: UInt64) {
    let device = Edu(function: edu.function, bar: edu.bar)
    guard phase != .idle else { return begin(device, random) }
    if random % 8 == 0 {
      edu.function.setCommand(PCIFunction.Command.busMaster, false)
      Time.wait(milliseconds: 1)
      edu.function.setCommand(PCIFunction.Command.busMaster, true)
      wasStopped = true
    }
    guard !device.isTransferring else { return }
    if phase == .sending { return end(memory) }
    // The result of an interrupted transfer into edu is undefined.
    if wasStopped { phase = .idle } else { send(device, memory) }
  }

  private mutating func begin(_ edu: Edu, _ random: UInt64) {
    seed = random &* 0x9E37_79B9_7F4A_7C15 | 1
    toMemory = hasPeers && random % 2 == 0
    let source = dma_page(Self.sourcePage)
    for index in 0..<Self.size / 8 { mmio_store64(source + index * 8, word(index)) }
    edu.begin(from: source, to: Edu.memory, Self.size, .toDevice)
    (phase, wasStopped) = (.filling, false)
  }

  private mutating func send(_ edu: Edu, _ memory: Target) {
    let target = target(memory)
    // Fill the whole page. These writes may be the first access to its window.
    for index in UInt64(0)..<512 { mmio_store64(target + index * 8, Self.filler) }
    epoch = shared_load(Shared.epoch(Device.memory))
    edu.begin(from: Edu.memory, to: target, Self.size, .toMemory)
    phase = .sending
  }

  private mutating func end(_ memory: Target) {
    phase = .idle
    done += 1
    let target = target(memory)
    var there: UInt64 = 0
    var untouched: UInt64 = 0
    for index in UInt64(0)..<512 {
      let value = mmio_load64(target + index * 8)
      if index < Self.size / 8, value == word(index) { there += 1 }
      if value == Self.filler { untouched += 1 }
    }
    let all = Self.size / 8
    let isCertain = !wasStopped && (!toMemory || shared_load(Shared.epoch(Device.memory)) == epoch)
    if there == all, untouched == 512 - all {
      moved += 1
    } else if untouched == 512 {
      if isCertain {
        missing += 1
        Console.print(
          "# missing: transfer \(done) to \(hex: target), shared memory \(toMemory ? "yes" : "no")")
      }
    } else {
      partial += 1
      Console.print("# partial: transfer \(done), \(there) words arrived, \(untouched) unchanged")
    }
  }
}
