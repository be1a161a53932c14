// SPDX-License-Identifier: Apache-2.0

import Hardware

/// edu's DMA to and from RAM, to a peer's BAR, and to unclaimed addresses.
struct DMAFacts {
  let function: PCIFunction
  let peer: UInt64?

  private static let source: UInt32 = 10
  private static let target: UInt32 = 11
  private static let size: UInt64 = 512

  func write() {
    guard function.vendor == 0x1234, function.device == 0x11E8, let edu = Edu.find(.init(address: 0)) else {
      Console.print("dma = unsupported device")
      return
    }
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
    fill(dma_page(Self.source), 0x11)
    fill(dma_page(Self.target), 0)
    report("to-device", edu.transfer(from: dma_page(Self.source), to: Edu.memory, Self.size, .toDevice))
    report("to-memory", edu.transfer(from: Edu.memory, to: dma_page(Self.target), Self.size, .toMemory))
    Console.print("dma.memory = \(hex: mmio_load64(dma_page(Self.target)), digits: 16)")
    function.setCommand(PCIFunction.Command.busMaster, false)
    fill(dma_page(Self.target), 0x22)
    report("not-master", edu.transfer(from: Edu.memory, to: dma_page(Self.target), Self.size, .toMemory))
    Console.print("dma.not-master.memory = \(hex: mmio_load64(dma_page(Self.target)), digits: 16)")
    function.setCommand(PCIFunction.Command.busMaster, true)
    writePeer(edu)
    // The address is unclaimed. The value that the device receives is undefined.
    report("to-nothing", edu.transfer(from: Edu.memory, to: 0xB000_0000, Self.size, .toMemory))
    report("from-nothing", edu.transfer(from: 0xB000_0000, to: Edu.memory, Self.size, .toDevice))
    report("after", edu.transfer(from: Edu.memory, to: dma_page(Self.target), Self.size, .toMemory))
    Console.print("dma.from-nothing.memory = \(hex: mmio_load64(dma_page(Self.target)), digits: 16)")
  }

  private func writePeer(_ edu: Edu) {
    guard let peer, let probe = Probe.of(PCIFunction(slot: UInt8(truncatingIfNeeded: peer & 31), function: 0))
    else { return }
    probe.setMemory(true)
    mmio_store64(probe.bar.address, 0x33)
    report("refill", edu.transfer(from: dma_page(Self.source), to: Edu.memory, Self.size, .toDevice))
    report("to-peer", edu.transfer(from: Edu.memory, to: probe.bar.address, Self.size, .toMemory))
    Console.print("dma.peer = \(hex: mmio_load64(probe.bar.address), digits: 16)")
    probe.setMemory(false)
    report(
      "to-closed-peer", edu.transfer(from: Edu.memory, to: probe.bar.address + 8192, Self.size, .toMemory))
    probe.setMemory(true)
    Console.print("dma.closed-peer = \(hex: mmio_load64(probe.bar.address), digits: 16)")
  }

  private func fill(_ page: UInt64, _ byte: UInt64) {
    for offset in stride(from: UInt64(0), to: Self.size, by: 8) {
      mmio_store64(page + offset, byte &* 0x0101_0101_0101_0101)
    }
  }

  private func report(_ name: StaticString, _ ended: Bool) {
    Console.print("dma.\(name) = \(ended ? "ended" : "no end")")
  }
}
