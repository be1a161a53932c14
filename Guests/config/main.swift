// SPDX-License-Identifier: Apache-2.0

// Shows that the configuration space of every endpoint on the bus conforms to PCI Express. Its 4096 bytes are
// the same in every width, through ports and ECAM. Capability lists end. Read-only, write-1-to-clear and
// reserved bits behave as defined. BARs can be sized. Run by the lab case `config`.
//
// Command line: `functions=N` is the expected number of endpoints.

import Hardware

func guest(_ machine: Machine, _ report: inout Report) {
  guard let ecam = machine.tables.ecam, PageMap.map(ecam.base, size: 1 << 20) else {
    report.check(false, "an MCFG is present")
    return
  }
  var functions: UInt64 = 0
  for slot in UInt8(1)..<32 {
    for number in UInt8(0)..<8 {
      let function = PCIFunction(slot: slot, function: number)
      if number > 0, !PCIFunction(slot: slot, function: 0).isMultifunction { continue }
      guard function.isPresent, function.isEndpoint else { continue }
      functions += 1
      Space(function: function, ecam: function.ecamAddress(ecam.base)).check(&report)
    }
  }
  report.check(functions > 0, "\(functions) endpoints")
  if let expected = machine.commandLine.number("functions") {
    report.check(functions == expected, "\(expected) endpoints expected")
  }
}

/// The configuration space of one function.
struct Space {
  let function: PCIFunction
  /// The GPA of the configuration space in the ECAM.
  let ecam: UInt64

  func check(_ report: inout Report) {
    report.note("\(function) class \(hex: function.classCode, digits: 6)")
    let command = function.command
    checkBytes(&report)
    checkLists(&report)
    checkReadOnly(&report)
    checkCommand(&report)
    checkStatus(&report)
    checkLine(&report)
    checkBARs(&report)
    function.store16(PCIFunction.Register.command, command)
    report.check(function.command == command, "COMMAND has its original value: \(hex: command, digits: 4)")
  }

  /// Checks that every byte is readable, and is the same in every width, through ports and ECAM.
  private func checkBytes(_ report: inout Report) {
    var different: UInt32 = 0
    var absent: UInt32 = 0
    for offset in stride(from: UInt64(0), to: 4096, by: 4) {
      let address = ecam + offset
      let word = mmio_load32(address)
      var parts = UInt32(mmio_load16(address)) | UInt32(mmio_load16(address + 2)) << 16
      if parts != word { different += 1 }
      parts = 0
      for byte in UInt64(0)..<4 { parts |= UInt32(mmio_load8(address + byte)) << UInt32(byte * 8) }
      if parts != word { different += 1 }
      // A conventional PCI function has 256 bytes.
      if word == .max, offset < 256 { absent += 1 }
      guard offset < 256 else { continue }
      let low = UInt16(offset)
      if function.load32(low) != word { different += 1 }
      if function.load16(low + 2) != UInt16(word >> 16) { different += 1 }
      if function.load8(low + 3) != UInt8(word >> 24) { different += 1 }
    }
    report.check(different == 0, "4096 bytes, \(different) differences between widths, ports and ECAM")
    report.check(absent < 8, "\(absent) words read all-ones")
  }

  /// Checks that both lists stay in their part of configuration space, are aligned, have no cycle, and end.
  private func checkLists(_ report: inout Report) {
    var faults: UInt32 = 0
    var count: UInt32 = 0
    var seen: (UInt64, UInt64) = (0, 0)
    if function.status & PCIFunction.Status.capabilities != 0 {
      var offset = function.load8(PCIFunction.Register.capabilities)
      while offset != 0, faults == 0 {
        let bit = UInt64(1) << UInt64(offset / 4)
        if offset < 0x40 || offset % 4 != 0 || seen.0 & bit != 0 { faults += 1 }
        seen.0 |= bit
        let id = function.load8(UInt16(offset))
        if id == 0 || id == 0xFF { faults += 1 }
        offset = function.load8(UInt16(offset) + 1)
        count += 1
      }
    }
    report.check(faults == 0, "\(count) capabilities, \(faults) faults in the list")
    faults = 0
    count = 0
    var offset: UInt64 = 0x100
    while offset != 0, faults == 0 {
      let header = mmio_load32(ecam + offset)
      // A function may have no extended capabilities.
      if header == 0 || header == .max, offset == 0x100 { break }
      if offset < 0x100 || offset % 4 != 0 || header == .max || count > 960 { faults += 1 }
      offset = UInt64(header >> 20)
      count += 1
    }
    report.check(faults == 0, "\(count) extended capabilities, \(faults) faults in the list")
  }

  /// Checks that identity, class, header type, pin, and the headers of capabilities are read-only.
  private func checkReadOnly(_ report: inout Report) {
    var changed: UInt32 = 0
    let check = { (offset: UInt64, mask: UInt32) -> Bool in
      let before = mmio_load32(ecam + offset)
      mmio_store32(ecam + offset, before | mask)
      let ones = mmio_load32(ecam + offset)
      mmio_store32(ecam + offset, before & ~mask)
      let zeros = mmio_load32(ecam + offset)
      mmio_store32(ecam + offset, before)
      return ones & mask == before & mask && zeros & mask == before & mask
    }
    for offset in [UInt64(0x00), 0x08, 0x2C, 0x34] where !check(offset, .max) { changed += 1 }
    if !check(0x0C, 0x00FF_0000) { changed += 1 }
    if !check(0x3C, 0xFFFF_FF00) { changed += 1 }
    report.check(changed == 0, "\(changed) read-only registers of the header are writable")
    changed = 0
    function.forEachCapability { offset, _ in
      let head = function.load16(offset)
      function.store16(offset, ~head)
      if function.load16(offset) != head { changed += 1 }
    }
    function.forEachExtendedCapability(ecam - function.ecamAddress(0)) { offset, _ in
      let head = mmio_load32(ecam + offset)
      mmio_store32(ecam + offset, ~head)
      if mmio_load32(ecam + offset) != head { changed += 1 }
    }
    report.check(changed == 0, "\(changed) headers of capabilities are writable")
  }

  /// Checks that all bits of Interrupt Line are writable.
  private func checkLine(_ report: inout Report) {
    let line = PCIFunction.Register.interruptLine
    let before = function.load8(line)
    let pin = function.load8(PCIFunction.Register.interruptPin)
    var kept = true
    for value in [UInt8(0x5A), 0xA5, 0] {
      function.store8(line, value)
      if function.load8(line) != value || mmio_load8(ecam + UInt64(line)) != value { kept = false }
    }
    function.store8(line, before)
    report.check(kept && function.load8(line) == before, "Interrupt Line keeps written values")
    report.check(
      pin <= 4 && function.load8(PCIFunction.Register.interruptPin) == pin, "Interrupt Pin is \(pin)")
  }
}
