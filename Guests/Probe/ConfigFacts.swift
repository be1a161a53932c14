// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The configuration space of a function: every nonzero word and the capability lists.
struct ConfigFacts {
  let function: PCIFunction
  /// The GPA of the configuration space in the ECAM.
  let ecam: UInt64

  func write() {
    let slot = function.slot
    let number = function.function
    Console.print(
      "function.\(hex: slot, digits: 2).\(number) = \(hex: function.vendor, digits: 4):\(hex: function.device, digits: 4)"
    )
    for offset in stride(from: UInt64(0), to: 4096, by: 4) {
      let word = mmio_load32(ecam + offset)
      // Skip zero words, and the all-ones words of a conventional PCI function after offset 256.
      if word == 0 || (word == .max && offset >= 256) { continue }
      Console.print(
        "config.\(hex: slot, digits: 2).\(number).\(hex: offset, digits: 3) = \(hex: word, digits: 8)")
    }
    function.forEachCapability { offset, id in
      Console.print(
        "capability.\(hex: slot, digits: 2).\(number).\(hex: id, digits: 2) = at \(hex: offset, digits: 2)")
    }
    function.forEachExtendedCapability(ecam - function.ecamAddress(0)) { offset, id in
      Console.print(
        "extended.\(hex: slot, digits: 2).\(number).\(hex: id, digits: 4) = at \(hex: offset, digits: 3)")
    }
  }
}

/// COMMAND and STATUS after a write of each single bit, and the writable bits of other registers.
struct CommandFacts {
  let function: PCIFunction
  let ecam: UInt64

  func write() {
    let command = function.command
    // The device must stay idle, because memory and bus mastering change here.
    for bit in UInt16(0)..<16 {
      function.store16(PCIFunction.Register.command, 1 << bit)
      Console.print(
        "command.bit\(bit) = \(hex: function.command, digits: 4) status \(hex: function.status, digits: 4)")
    }
    function.store16(PCIFunction.Register.command, 0)
    for bit in UInt16(0)..<16 {
      function.store16(PCIFunction.Register.status, 1 << bit)
      Console.print("status.bit\(bit) = \(hex: function.status, digits: 4)")
    }
    for offset in [UInt64(0x0C), 0x28, 0x2C, 0x34, 0x38, 0x3C] {
      let before = mmio_load32(ecam + offset)
      mmio_store32(ecam + offset, ~before)
      let changed = mmio_load32(ecam + offset) ^ before
      mmio_store32(ecam + offset, before)
      Console.print("writable.\(hex: offset, digits: 2) = \(hex: changed, digits: 8)")
    }
    function.store16(PCIFunction.Register.command, command)
    Console.print("command.restored = \(function.command == command ? 1 : 0 as UInt8)")
  }
}

/// The types and sizes of the BARs, with memory off and on.
struct BARFacts {
  let function: PCIFunction

  func write() {
    BAR.forEach(function) { bar in
      Console.print(
        """
        bar.\(bar.index) = size \(hex: bar.size) \(bar.isMemory ? bar.is64Bit ? "64-bit" : "32-bit" : "io") \
        \(bar.isPrefetchable ? "prefetchable" : "plain")
        """)
    }
    writeSizes(false)
  }

  /// Writes the values of the BAR and ROM registers after all-ones and zeros. Sizing with memory on is
  /// incorrect use and may end another VMM. Therefore it runs in a separate part.
  func writeSizes(_ isOn: Bool) {
    for index in UInt16(0)..<7 {
      let offset = index < 6 ? PCIFunction.Register.firstBAR + index * 4 : PCIFunction.Register.rom
      let command = function.command
      function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.io, isOn)
      let before = function.load32(offset)
      function.store32(offset, .max)
      let ones = function.load32(offset)
      function.store32(offset, 0)
      let zeros = function.load32(offset)
      function.store32(offset, before)
      let isRestored = function.load32(offset) == before
      function.store16(PCIFunction.Register.command, command)
      Console.print(
        """
        sizing.\(hex: offset, digits: 2).\(isOn ? "on" : "off") = ones \(hex: ones, digits: 8) zeros \
        \(hex: zeros, digits: 8) restored \(isRestored ? 1 : 0 as UInt8)
        """)
    }
  }
}
