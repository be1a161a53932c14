// SPDX-License-Identifier: Apache-2.0

import Hardware

/// How long accesses take that a monitor answers.
struct AccessTimes {
  let function: PCIFunction
  /// What is read in place of an MSI-X table where there is no function.
  let table: UInt64?

  private static let samples = 200

  func write() {
    let function = function
    // A monitor that pins guest RAM beside the guest has done so when this is set.
    if table == nil { function.setCommand(PCIFunction.Command.busMaster, true) }
    measure("port-read") { _ = port_load8(0x3FD) }
    measure("config-read") { _ = function.load32(0) }
    if let table {
      measure("table-read") { _ = mmio_load32(table) }
      return
    }
    guard let bar = BAR.usable(function, 0), let msix = MSIX(function) else { return }
    let off = function.command & ~PCIFunction.Command.memory
    let on = off | PCIFunction.Command.memory
    let memory = { (value: UInt16) in function.store16(PCIFunction.Register.command, value) }
    memory(on)
    let table = msix.tableAddress
    measure("table-read") { _ = mmio_load32(table) }
    measure("memory-bit", before: { _ = mmio_load32(bar.address) }) {
      memory(off)
      memory(on)
    }
    measure("memory-bit-touch") {
      memory(off)
      memory(on)
      _ = mmio_load32(bar.address)
    }
    msix.route(0, processor: 0, interrupt: UInt32(FIRST_VECTOR))
    msix.enable(true)
    msix.mask(0, false)
    measure("mask") {
      msix.mask(0, true)
      msix.mask(0, false)
    }
    msix.enable(false)
  }

  /// - Parameter before: What comes before each access and is not timed.
  private func measure(_ name: StaticString, before: () -> Void = {}, _ access: () -> Void) {
    var times = InlineArray<200, UInt64>(repeating: 0)
    access()
    for index in 0..<Self.samples {
      before()
      let start = time_stamp()
      access()
      let time = time_stamp() &- start
      // Kept in order as they come.
      var place = index
      while place > 0, times[place - 1] > time {
        times[place] = times[place - 1]
        place -= 1
      }
      times[place] = time
    }
    Console.print(
      "bench.\(name) = \(times[0]) \(times[Self.samples / 2]) \(times[Self.samples * 99 / 100])")
  }
}
