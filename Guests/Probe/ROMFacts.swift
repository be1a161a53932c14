// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The expansion ROM, with the memory bit and the enable bit each on and off.
struct ROMFacts {
  let function: PCIFunction

  func write() {
    guard let rom = ROM(function) else {
      Console.print("rom = none")
      return
    }
    Console.print("rom = size \(hex: rom.size)")
    // Use a fixed, otherwise unclaimed address.
    let saved = function.load32(PCIFunction.Register.rom)
    let command = function.command
    let address: UInt32 = 0xD800_0000
    for isMemoryOn in [false, true] {
      for isEnabled in [false, true] {
        function.setCommand(PCIFunction.Command.memory, isMemoryOn)
        function.store32(PCIFunction.Register.rom, address | (isEnabled ? 1 : 0))
        let state: StaticString =
          isMemoryOn ? isEnabled ? "on" : "disabled" : isEnabled ? "memory-off" : "off"
        Console.print("rom.\(state).4 = \(hex: mmio_load32(UInt64(address)), digits: 8)")
        Console.print("rom.\(state).8 = \(hex: mmio_load64(UInt64(address)), digits: 16)")
        Console.print("rom.\(state).2 = \(hex: mmio_load16(UInt64(address) + 2), digits: 4)")
        Console.print("rom.\(state).1 = \(hex: mmio_load8(UInt64(address) + 1), digits: 2)")
      }
    }
    // Both bits are on: writes are ignored, and the ROM has a checksum.
    mmio_store32(UInt64(address), 0x1234_5678)
    Console.print("rom.written = \(hex: mmio_load32(UInt64(address)), digits: 8)")
    var sum: UInt32 = 0
    for offset in stride(from: UInt64(0), to: rom.size, by: 4) {
      sum = sum &* 31 &+ mmio_load32(UInt64(address) + offset)
    }
    Console.print("rom.sum = \(hex: sum, digits: 8)")
    function.store32(PCIFunction.Register.rom, saved)
    function.store16(PCIFunction.Register.command, command)
  }
}
