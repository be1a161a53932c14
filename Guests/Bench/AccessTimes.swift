// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The times of accesses that the VMM handles.
struct AccessTimes {
  let function: PCIFunction
  /// The address that is read instead of an MSI-X table, or nil if there is a function.
  let table: UInt64?

  private static let samples = 200

  func write() {
    let function = function
    // A VMM that pins guest RAM in the background has pinned it when this write returns.
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

  /// Times an access and writes the minimum, the median and the 99th percentile.
  ///
  /// - Parameter before: A step before each access, which is not timed.
  private func measure(_ name: StaticString, before: () -> Void = {}, _ access: () -> Void) {
    var times = InlineArray<200, UInt64>(repeating: 0)
    access()
    for index in 0..<Self.samples {
      before()
      let start = time_stamp()
      access()
      let time = time_stamp() &- start
      // Insert the time into the sorted array.
      var position = index
      while position > 0, times[position - 1] > time {
        times[position] = times[position - 1]
        position -= 1
      }
      times[position] = time
    }
    Console.print(
      "bench.\(name) = \(times[0]) \(times[Self.samples / 2]) \(times[Self.samples * 99 / 100])")
  }
}
