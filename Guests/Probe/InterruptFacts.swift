// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The number of INTx interrupts per cause, with INTx masked and unmasked.
struct InterruptFacts {
  let function: PCIFunction

  private static let vector = UInt32(FIRST_VECTOR) + 31

  func write() {
    let pin = function.load8(PCIFunction.Register.interruptPin)
    Console.print("intx.pin = \(pin)")
    guard function.vendor == 0x1234, function.device == 0x11E8, let edu = Edu.find(.init(address: 0)) else {
      Console.print("intx.delivery = unsupported device")
      return
    }
    function.setCommand(PCIFunction.Command.memory, true)
    shared_store(SharedWord.first, edu.bar.address)
    let acknowledge: @convention(c) (UInt32) -> Void = { _ in
      let registers = shared_load(SharedWord.first)
      mmio_store32(
        registers + Edu.Register.interruptAcknowledge, mmio_load32(registers + Edu.Register.interruptStatus))
    }
    guard let input = Route.find(raising: { edu.raise(1) }, handler: acknowledge) else {
      Console.print("intx.delivery = no single input")
      return
    }
    interrupt_handle(Self.vector, acknowledge)
    IOAPIC.route(input, processor: 0, interrupt: Self.vector)
    report("one") { edu.raise(1) }
    report("three") {
      for cause in [UInt32(1), 2, 4] {
        let before = interrupt_count(0, Self.vector)
        edu.raise(cause)
        // Two pending causes raise only one interrupt.
        _ = Time.wait(milliseconds: 500) { interrupt_count(0, Self.vector) > before }
      }
    }
    report("disabled") {
      function.setCommand(PCIFunction.Command.interruptDisable, true)
      edu.raise(1)
    }
    report("enabled") { function.setCommand(PCIFunction.Command.interruptDisable, false) }
    report("masked") {
      IOAPIC.mask(input, true)
      edu.raise(1)
    }
    report("unmasked") { IOAPIC.mask(input, false) }
    IOAPIC.mask(input, true)
    interrupt_handle(Self.vector, nil)
  }

  private func report(_ script: StaticString, _ steps: () -> Void) {
    let before = interrupt_count(0, Self.vector)
    steps()
    // A busy host delivers late, and further interrupts may follow the first.
    _ = Time.wait(milliseconds: 100) { interrupt_count(0, Self.vector) > before }
    Time.wait(milliseconds: 5)
    let count = interrupt_count(0, Self.vector) - before
    Console.print(
      "intx.\(script) = \(count) delivered, status bit \(function.status >> 3 & 1)")
  }
}
