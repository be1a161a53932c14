// SPDX-License-Identifier: Apache-2.0

// Shows the PCI bus that a guest finds: every function with its BARs and capabilities. Configuration space is
// the same through CF8/CFC and ECAM. Empty slots read all-ones. BARs are aligned, do not overlap, and lie in
// the bridge's windows. Run by the lab case `pci-enumeration`.
//
// Command line: `functions=N` is the expected number of functions.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  let ecam = machine.tables.ecam
  if let ecam, !PageMap.map(ecam.base, size: 1 << 20) { report.check(false, "ECAM is mapped") }
  var functions: UInt32 = 0
  PCIBus.forEachFunction { function in
    functions += 1
    describe(function, ecam: ecam?.base)
  }
  report.check(functions > 0, "\(functions) functions on bus 0")
  if let expected = machine.commandLine.number("functions") {
    report.check(UInt64(functions) == expected, "\(expected) functions expected")
  }
  checkAbsent(machine, &report)
  checkBARs(machine, &report)
  if let ecam {
    report.note("ECAM at \(hex: ecam.base), last bus \(ecam.lastBus)")
    checkECAM(ecam.base, &report)
  } else {
    report.skip("no MCFG, so no ECAM")
  }
}

private func describe(_ function: PCIFunction, ecam: UInt64?) {
  Console.print(
    "# \(function) class \(hex: function.classCode, digits: 6) command \(hex: function.command, digits: 4)")
  guard function.isEndpoint else { return }
  BAR.forEach(function) { bar in Console.print("#   \(bar)") }
  function.forEachCapability { offset, id in
    Console.print("#   capability \(hex: id, digits: 2) at \(hex: offset, digits: 2)")
  }
  guard let ecam else { return }
  function.forEachExtendedCapability(ecam) { offset, id in
    Console.print("#   extended capability \(hex: id, digits: 4) at \(hex: offset, digits: 3)")
  }
}

/// Checks that an empty slot reads all-ones in every width and ignores writes.
private func checkAbsent(_ machine: Machine, _ report: inout Report) {
  var empty: PCIFunction?
  for slot in UInt8(1)..<32 where empty == nil {
    let function = PCIFunction(slot: slot, function: 0)
    if !function.isPresent { empty = function }
  }
  guard let empty else {
    report.skip("every slot is occupied")
    return
  }
  empty.store32(PCIFunction.Register.command, 0)
  let isAbsent =
    empty.load32(0) == .max && empty.load16(4) == .max && empty.load8(8) == .max
    && empty.load32(0xFC) == .max
  report.check(isAbsent, "slot \(empty.slot) is empty and reads all-ones")
  if let ecam = machine.tables.ecam {
    let address = empty.ecamAddress(ecam.base)
    let isAbsentThere = mmio_load32(address) == .max && mmio_load32(address + 0xFFC) == .max
    report.check(isAbsentThere, "slot \(empty.slot) reads all-ones through ECAM")
  }
}

/// Checks that each memory BAR lies in one of the bridge's windows and overlaps neither RAM nor another BAR.
private func checkBARs(_ machine: Machine, _ report: inout Report) {
  var bars: UInt32 = 0
  var misaligned: UInt32 = 0
  var outside: UInt32 = 0
  var inRAM: UInt32 = 0
  var overlaps: UInt32 = 0
  PCIBus.forEachFunction { function in
    guard function.isEndpoint else { return }
    BAR.forEach(function) { bar in
      guard bar.isMemory, bar.address != 0 else { return }
      bars += 1
      if bar.address & (bar.size - 1) != 0 { misaligned += 1 }
      if !machine.tables.hasMemoryWindow(over: bar.address, size: bar.size) { outside += 1 }
      for index in 0..<machine.memoryRangeCount {
        let range = machine.memoryRange(index)
        if range.kind == 1, bar.address < range.end, range.start < bar.end { inRAM += 1 }
      }
      overlaps += otherBARs(overlapping: bar, of: function)
    }
  }
  report.check(misaligned == 0, "\(bars) memory BARs with an address, \(misaligned) misaligned")
  report.check(inRAM == 0, "\(inRAM) BARs overlap RAM")
  report.check(overlaps == 0, "\(overlaps / 2) BARs overlap other BARs")
  if machine.tables.dsdt == nil {
    report.skip("no DSDT, so no windows")
  } else {
    report.check(outside == 0, "\(outside) BARs outside the bridge's windows")
  }
}

/// Counts the other memory BARs that overlap a BAR.
private func otherBARs(overlapping bar: BAR, of owner: PCIFunction) -> UInt32 {
  var count: UInt32 = 0
  PCIBus.forEachFunction { function in
    guard function.isEndpoint else { return }
    BAR.forEach(function) { other in
      let isSame =
        function.slot == owner.slot && function.function == owner.function && other.index == bar.index
      guard !isSame, other.isMemory, other.address != 0 else { return }
      if bar.address < other.end, other.address < bar.end { count += 1 }
    }
  }
  return count
}

/// Checks that CF8/CFC and ECAM show the same configuration space in every width.
private func checkECAM(_ base: UInt64, _ report: inout Report) {
  var words: UInt32 = 0
  var different: UInt32 = 0
  PCIBus.forEachFunction { function in
    let address = function.ecamAddress(base)
    for offset in stride(from: UInt16(0), to: 256, by: 4) {
      words += 1
      let value = function.load32(offset)
      let dword = address + UInt64(offset)
      if mmio_load32(dword) != value || UInt32(mmio_load16(dword + 2)) != value >> 16
        || UInt32(mmio_load8(dword + 1)) != value >> 8 & 0xFF || function.load8(offset + 3) != value >> 24
      {
        different += 1
      }
    }
  }
  report.check(different == 0, "\(different) of \(words) registers differ between CF8/CFC and ECAM")

  // A write through one mechanism is visible through the other.
  var checked = false
  PCIBus.forEachFunction { function in
    guard !checked, function.isEndpoint, BAR.read(function, 0)?.isMemory == true else { return }
    checked = true
    let address = function.ecamAddress(base) + UInt64(PCIFunction.Register.command)
    let command = function.command
    mmio_store16(address, command | PCIFunction.Command.interruptDisable)
    let isSet = function.command == command | PCIFunction.Command.interruptDisable
    function.store16(PCIFunction.Register.command, command)
    report.check(
      isSet && mmio_load16(address) == command, "slot \(function.slot): both mechanisms access COMMAND")
  }
}
