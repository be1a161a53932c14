// SPDX-License-Identifier: Apache-2.0

/// Error reporting and containment (PCIe 6.0 §6.2, §7.8.4).
extension RootPort {
  /// Uncorrectable Error Status: Data Link Protocol Error. It is fatal by default.
  private static let protocolError: UInt32 = 1 << 4
  /// Uncorrectable Error Status: Completion Timeout. It is non-fatal by default.
  private static let completionTimeout: UInt32 = 1 << 14
  /// Correctable Error Status: Receiver Error.
  private static let receiverError: UInt32 = 1

  /// Reports an error to the guest. A fatal error of an occupied slot also contains the slot, independent of the
  /// enables. Linux continues after another error without a reset.
  ///
  /// - Parameters:
  ///   - error: The severity.
  ///   - source: The requester ID of the error's source.
  ///   - isOwn: True if the source is the port. It then records the error in its own status registers: a
  ///     correctable error as Receiver Error, a non-fatal error as Completion Timeout, and a fatal error as Data
  ///     Link Protocol Error. The guest's severity register can change the message. Linux recovers everything
  ///     behind the port, so a function without AER can be the cause.
  public mutating func report(_ error: ErrorSeverity, source: UInt16, isOwn: Bool) {
    if isOccupied, error == .fatal { isContained = true }
    if let message = isOwn ? recordOwn(error) : forward(error) { receive(message, source: source) }
    updateInterrupt()
  }

  /// Ends the containment without a reset by the guest, for example after the recovery of a non-fatal error.
  public mutating func endContainment() { isContained = false }

  /// Records an error of the port. Returns the error message, or nil if it is masked or disabled (PCIe 6.0
  /// §6.2.5).
  private mutating func recordOwn(_ error: ErrorSeverity) -> ErrorSeverity? {
    guard error != .correctable else {
      set(1 << 0, at: PortOffset.deviceStatus)
      set(Self.receiverError, at: PortOffset.correctableStatus)
      let isMasked = isSet(Self.receiverError, at: PortOffset.correctableMask)
      return !isMasked && number(PortOffset.deviceControl) & 1 != 0 ? .correctable : nil
    }
    let bit = error == .fatal ? Self.protocolError : Self.completionTimeout
    let severity: ErrorSeverity = isSet(bit, at: PortOffset.uncorrectableSeverity) ? .fatal : .nonFatal
    set(severity == .fatal ? 1 << 2 : 1 << 1, at: PortOffset.deviceStatus)
    let isMasked = isSet(bit, at: PortOffset.uncorrectableMask)
    if !isMasked { recordFirst(bit) }
    set(bit, at: PortOffset.uncorrectableStatus)
    guard !isMasked, sends(severity) else { return nil }
    signalSystemError()
    return severity
  }

  /// Sets the First Error Pointer if no unmasked error is recorded (PCIe 6.0 §7.8.4.7).
  private mutating func recordFirst(_ bit: UInt32) {
    let status = values.number(at: PortOffset.uncorrectableStatus, width: 4)
    let mask = values.number(at: PortOffset.uncorrectableMask, width: 4)
    guard status & ~mask == 0 else { return }
    values.set(UInt32(bit.trailingZeroBitCount), at: PortOffset.errorControl, width: 4)
  }

  /// Forwards an error message from the slot. Returns the message, or nil if it is disabled (PCIe 6.0 §6.2.6).
  private mutating func forward(_ error: ErrorSeverity) -> ErrorSeverity? {
    if error != .correctable { set(PortOffset.systemError, at: PortOffset.secondaryStatus) }
    guard number(PortOffset.bridgeControl) & PortOffset.forwardsErrors != 0 else { return nil }
    guard error != .correctable else { return error }
    guard sends(error) else { return nil }
    signalSystemError()
    return error
  }

  /// True if the command register or the device control register enables an uncorrectable message (PCIe 6.0
  /// §7.5.1.1.3, §7.5.3.4).
  private func sends(_ severity: ErrorSeverity) -> Bool {
    let enable: UInt16 = severity == .fatal ? 1 << 2 : 1 << 1
    return command.contains(.systemErrorEnable) || number(PortOffset.deviceControl) & enable != 0
  }

  /// Records an uncorrectable message in the status register (PCIe 6.0 §7.5.1.1.4).
  private mutating func signalSystemError() {
    if command.contains(.systemErrorEnable) { set(PortOffset.systemError, at: ConfigOffset.status) }
  }

  /// Records an error message in the root error registers (PCIe 6.0 §7.8.4.10, §7.8.4.11).
  private mutating func receive(_ message: ErrorSeverity, source: UInt16) {
    var status = rootErrorStatus
    if message == .correctable {
      if status.contains(.correctable) {
        status.insert(.multipleCorrectable)
      } else {
        status.insert(.correctable)
        values.set(UInt32(source), at: PortOffset.errorSource, width: 2)
      }
    } else {
      if status.contains(.uncorrectable) {
        status.insert(.multipleUncorrectable)
      } else {
        status.insert(.uncorrectable)
        if message == .fatal { status.insert(.firstIsFatal) }
        values.set(UInt32(source), at: PortOffset.errorSource + 2, width: 2)
      }
      status.insert(message == .fatal ? .fatal : .nonFatal)
    }
    rootErrorStatus = status
  }

  private func isSet(_ bit: UInt32, at offset: Int) -> Bool { values.number(at: offset, width: 4) & bit != 0 }

  private mutating func set(_ bit: UInt32, at offset: Int) {
    values.set(values.number(at: offset, width: 4) | bit, at: offset, width: 4)
  }
}
