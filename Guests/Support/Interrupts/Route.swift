// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The route of a function's INTx to an input of the I/O APIC.
enum Route {
  /// The inputs that Sluice and QEMU's q35 use for PCI devices.
  static let inputs: Range<UInt32> = 16..<24
  /// The interrupt vector of the first input during a search.
  private static let firstVector = UInt32(FIRST_VECTOR) + 16

  /// Unmasks all inputs, raises the device's interrupt, and finds the input at which it arrives. Masks all
  /// inputs afterwards.
  ///
  /// - Parameter handler: Clears the device's interrupt.
  /// - Returns: The input, or nil if the interrupt arrived at no input or at more than one.
  static func find(
    raising raise: () -> Void, handler: @escaping @convention(c) (UInt32) -> Void
  ) -> UInt32? {
    for input in inputs {
      let vector = firstVector + input - inputs.lowerBound
      interrupt_handle(vector, handler)
      IOAPIC.route(input, processor: 0, interrupt: vector)
    }
    disablePICRouting()
    let before = InlineArray<8, UInt64> { interrupt_count(0, firstVector + UInt32($0)) }
    let sum = counts()
    raise()
    _ = Time.wait(milliseconds: 2000) { counts() != sum }
    Time.wait(milliseconds: 5)
    var found: UInt32?
    var arrivals = 0
    for input in inputs {
      let vector = firstVector + input - inputs.lowerBound
      IOAPIC.mask(input, true)
      interrupt_handle(vector, nil)
      guard interrupt_count(0, vector) > before[Int(input - inputs.lowerBound)] else { continue }
      arrivals += 1
      found = input
    }
    return arrivals == 1 ? found : nil
  }

  /// Disables the routing of INTx pins to the PIC, like an operating system that uses the I/O APIC. QEMU does
  /// not raise the I/O APIC's input while q35's LPC bridge (slot 31) routes the pin to the PIC.
  private static func disablePICRouting() {
    let bridge = PCIFunction(slot: 31, function: 0)
    guard bridge.vendor == 0x8086, bridge.device == 0x2918 else { return }
    // PIRQx_ROUT bit 7, Interrupt Routing Enable: 1 disables (Intel ICH9 datasheet, LPC bridge, 60h-63h,
    // 68h-6Bh).
    for register in 0..<2 as Range<UInt16> { bridge.store32(0x60 + register * 8, 0x8080_8080) }
  }

  private static func counts() -> UInt64 {
    var sum: UInt64 = 0
    for vector in firstVector..<firstVector + UInt32(inputs.count) { sum += interrupt_count(0, vector) }
    return sum
  }
}
