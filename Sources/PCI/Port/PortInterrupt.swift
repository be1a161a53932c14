// SPDX-License-Identifier: Apache-2.0

/// The port's interrupt: one MSI vector, or INTD.
extension RootPort {
  /// The port's pin: 0 for INTA# to 3 for INTD#.
  ///
  /// The function behind the port uses INTA# of the port's slot, and must not share it. pciehp removes the function's
  /// driver in the thread of the port's interrupt. The driver waits for all threads of the function's interrupt
  /// (`disable_irq`, `free_irq`). With a shared interrupt, the thread would wait for itself.
  ///
  /// PCIe 6.0 §7.5.1.1.13 reserves INTB# to INTD# for devices of several functions. Linux does not need that.
  public static var interruptPin: UInt8 { 3 }

  /// The level of the port's INTD (PCIe 6.0 §6.7.3.4, §6.2.4.1.2).
  public var isINTxAsserted: Bool {
    !isMessageEnabled && !command.contains(.interruptDisable) && !interruptCauses.isEmpty
  }

  /// Returns the message to send, or nil if none is owed.
  ///
  /// The port owes a message each time a cause changes from absent to present. A cause is present while an
  /// enabled event bit is set, and MSI is enabled and unmasked. Two causes at once share a message.
  public mutating func takeMessage() -> MSIMessage? {
    guard isMessageOwed else { return nil }
    isMessageOwed = false
    let high = UInt64(values.number(at: PortOffset.messageAddress + 4, width: 4))
    return MSIMessage(
      address: high << 32 | UInt64(values.number(at: PortOffset.messageAddress, width: 4)),
      data: UInt32(number(PortOffset.messageData)))
  }

  /// Updates the status bits of the interrupt, and decides if a message is owed.
  mutating func updateInterrupt() {
    let causes = interruptCauses
    let isMasked = values[PortOffset.messageMask] & 1 != 0
    set(PortOffset.interruptStatus, at: ConfigOffset.status, to: !isMessageEnabled && !causes.isEmpty)
    values[PortOffset.messagePending] = isMessageEnabled && isMasked && !causes.isEmpty ? 1 : 0
    guard isMessageEnabled, !isMasked, command.contains(.busMaster) else {
      // A cause that is still present sends when the message is enabled.
      signaled = []
      isMessageOwed = false
      return
    }
    if !causes.subtracting(signaled).isEmpty { isMessageOwed = true }
    signaled = causes
  }

  private var isMessageEnabled: Bool { number(PortOffset.messageControl) & 1 != 0 }

  /// The causes that are present. A port in D3hot has no interrupt (PCIe 6.0 §5.3.1.4).
  private var interruptCauses: InterruptCauses {
    guard powerState == .d0 else { return [] }
    var causes = InterruptCauses()
    let control = slotControl
    if control.contains(.hotPlugInterrupt), !control.events.isDisjoint(with: slotStatus) {
      causes.insert(.hotPlug)
    }
    let command = values.number(at: PortOffset.rootErrorCommand, width: 4)
    if !RootErrorStatus(enabledBy: command).isDisjoint(with: rootErrorStatus) { causes.insert(.errors) }
    return causes
  }
}
