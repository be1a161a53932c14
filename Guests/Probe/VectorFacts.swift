// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The MSI-X table and PBA as memory, and the interrupts that scripted sequences deliver.
struct VectorFacts {
  let function: PCIFunction

  private static let vector = UInt32(FIRST_VECTOR) + 30

  func write() {
    function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
    guard let msix = MSIX(function) else {
      Console.print("msix = none")
      return
    }
    Console.print("msix = \(msix.count) vectors")
    writeTable(msix)
    if let network = E1000e.find(), network.function.slot == function.slot {
      network.prepare()
      writeDeliveries(msix) {
        network.raise()
      } settle: {
        network.allow(false); network.allow(true)
      }
    } else if let usb = XHCI(function) {
      msix.enable(true)
      usb.prepare(0)
      msix.enable(false)
      writeDeliveries(msix) {
        usb.raise(0)
      } settle: {
      }
    } else {
      Console.print("msix.delivery = unsupported device")
    }
  }

  private func writeTable(_ msix: MSIX) {
    let entry = msix.tableAddress
    for offset in stride(from: UInt64(0), to: 32, by: 4) {
      Console.print("msix.entry+\(hex: offset, digits: 2) = \(hex: mmio_load32(entry + offset), digits: 8)")
    }
    for offset in stride(from: UInt64(0), to: 16, by: 4) {
      mmio_store32(entry + offset, .max)
      Console.print("msix.ones+\(hex: offset, digits: 2) = \(hex: mmio_load32(entry + offset), digits: 8)")
    }
    mmio_store64(entry, 0xFEE0_1000)
    Console.print("msix.entry.8 = \(hex: mmio_load64(entry), digits: 16)")
    Console.print("msix.entry.2 = \(hex: mmio_load16(entry), digits: 4)")
    Console.print("msix.entry.1 = \(hex: mmio_load8(entry + 1), digits: 2)")
    mmio_store16(entry, 0x2000)
    Console.print("msix.entry.2-written = \(hex: mmio_load32(entry), digits: 8)")
    Console.print("msix.last = \(hex: mmio_load32(entry + UInt64(msix.count - 1) * 16 + 12), digits: 8)")
    Console.print("msix.pending.4 = \(hex: mmio_load32(msix.pendingAddress), digits: 8)")
    Console.print("msix.pending.8 = \(hex: mmio_load64(msix.pendingAddress), digits: 16)")
    mmio_store32(msix.pendingAddress, .max)
    Console.print("msix.pending.written = \(hex: mmio_load32(msix.pendingAddress), digits: 8)")
    for (offset, value) in [(UInt64(0), UInt32(0)), (4, 0), (8, 0), (12, 1)] {
      mmio_store32(entry + offset, value)
    }
    function.setCommand(PCIFunction.Command.memory, false)
    Console.print("msix.memory-off = \(hex: mmio_load32(entry + 12), digits: 8)")
    function.setCommand(PCIFunction.Command.memory, true)
    Console.print("msix.memory-on = \(hex: mmio_load32(entry + 12), digits: 8)")
  }

  private var count: UInt64 { interrupt_count(0, Self.vector) }

  /// Runs scripts that mask, unmask and move a vector, and counts the interrupts that each script delivers.
  private func writeDeliveries(_ msix: MSIX, raise: () -> Void, settle: () -> Void) {
    msix.route(0, processor: 0, interrupt: Self.vector)
    for index in 1..<min(msix.count, 8) { msix.mask(index, true) }
    func report(_ script: StaticString, _ steps: () -> Void) {
      let before = count
      steps()
      // This time suffices for a VMM that emulates the pending bit of a masked vector.
      Time.wait(milliseconds: 50)
      Console.print(
        "msix.\(script) = \(count - before) delivered, pending \(msix.isPending(0) ? 1 : 0 as UInt8)")
    }
    msix.mask(0, false)
    report("disabled") {}
    msix.enable(true)
    settle()
    Time.wait(milliseconds: 3)
    report("unmasked") { raise() }
    report("masked") {
      msix.mask(0, true)
      settle()
      raise()
    }
    report("unmasked-again") { msix.mask(0, false) }
    report("function-masked") {
      msix.maskFunction(true)
      settle()
      raise()
    }
    report("function-unmasked") { msix.maskFunction(false) }
    report("moved") {
      msix.mask(0, true)
      msix.route(0, processor: 0, interrupt: Self.vector)
      msix.mask(0, false)
      settle()
      raise()
    }
    report("bus-master-off") {
      function.setCommand(PCIFunction.Command.busMaster, false)
      settle()
      raise()
    }
    report("bus-master-on") { function.setCommand(PCIFunction.Command.busMaster, true) }
    msix.enable(false)
    report("off") {}
  }
}
