// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The times of accesses in ticks of the time stamp counter: minimum, median, 99th percentile.
struct CycleFacts {
  let function: PCIFunction
  let ecam: UInt64

  private static let samples = 50

  func write() {
    let function = function
    let ecam = ecam
    measure("config-port-read") { _ = function.load32(0) }
    measure("config-ecam-read") { _ = mmio_load32(ecam) }
    measure("config-line-write") { function.store8(PCIFunction.Register.interruptLine, 0x55) }
    measure("port-read") { _ = port_load8(0x3FD) }
    measure("cpuid") { _ = cpuid_eax(0) }
    measure("nothing-read") { _ = mmio_load32(0xDF00_0000) }
    guard let probe = Probe.of(function) else { return }
    probe.setMemory(false)
    measure("closed-read") { _ = probe.value }
    measure("memory-bit-pair") {
      probe.setMemory(true)
      probe.setMemory(false)
    }
    measure("memory-bit-pair-touched") {
      probe.setMemory(true)
      _ = probe.value
      probe.setMemory(false)
    }
    probe.setMemory(true)
    _ = probe.value
    measure("open-read") { _ = probe.value }
    guard let msix = MSIX(function) else { return }
    measure("msix-table-read") { _ = mmio_load32(msix.tableAddress) }
    msix.enable(true)
    measure("msix-mask-pair") {
      msix.mask(0, false)
      msix.mask(0, true)
    }
    msix.enable(false)
  }

  private func measure(_ name: StaticString, _ access: () -> Void) {
    var times = InlineArray<50, UInt64>(repeating: 0)
    access()
    for index in 0..<Self.samples {
      let start = time_stamp()
      access()
      let time = time_stamp() &- start
      // Insert the time into the sorted array.
      var address = index
      while address > 0, times[address - 1] > time {
        times[address] = times[address - 1]
        address -= 1
      }
      times[address] = time
    }
    Console.print(
      "cycles.\(name) = \(times[0]) \(times[Self.samples / 2]) \(times[Self.samples * 99 / 100])")
  }
}
