// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
public import PCI
internal import Seams
internal import Synchronization
public import Trace

/// A function behind a port. Its owner serializes these calls.
extension AssignedFunction {
  /// Opens or closes the function's path through its port. The gate closes before the port reports anything to the
  /// guest, and arms after the device has its command register again.
  public func setConnected(_ isConnected: Bool) throws(FunctionError) {
    try served(otherwise: ()) { state throws(OperationError) in
      guard state.gate.conditions.contains(.connected) != isConnected else { return }
      try state.apply(.set(.connected, isConnected), .port) { owner in
        // The end of a reset writes the register.
        if isConnected, owner.gate.conditions.isSuperset(of: [.alive, .outOfReset]) { owner.writeCommand() }
      }
      update(state)
    }
  }

  /// Resets the function because the guest resets its slot. The path through the port is closed. Returns after the
  /// reset.
  public func resetInSlot() throws(FunctionError) {
    do throws(OperationError) {
      let isAlive = try state.withLock { state throws(OperationError) in
        guard state.gate.conditions.contains(.alive) else { return false }
        try state.beginReset()
        update(state)
        return true
      }
      if isAlive { try reset(.slot) }
    } catch { try isolate(error) }
  }

  /// Begins the reset of the function after an error that the host's kernel has reported. The guest reads all-ones from the
  /// function until `recover`. Returns false if the guest no longer has the function.
  public func beginRecovery() throws(FunctionError) -> Bool {
    do throws(OperationError) {
      return try state.withLock { state throws(OperationError) in
        guard state.gate.conditions.contains(.alive) else { return false }
        try state.beginReset()
        update(state)
        return true
      }
    } catch {
      try isolate(error)
      return false
    }
  }

  /// Resets the function after an error that the host's kernel has reported, and opens the device again if the kernel has
  /// lost its registers: vfio-pci does not restore them after it has reset the link (Linux
  /// drivers/vfio/pci/vfio_pci_core.c, vfio_pci_core_err_handlers).
  ///
  /// - Parameters:
  ///   - limit: The time in microseconds for which a reset is repeated that the kernel refuses, because it still handles the
  ///     error (EAGAIN).
  ///   - willArm: Called before the gate arms, with the lock of the function's operations held.
  /// - Returns: False if the device cannot be used, or if the guest no longer has the function.
  public func recover(within limit: Int64, willArm: () -> Void = {}) throws(FunctionError) -> Bool {
    do throws(OperationError) {
      return try handling.withLock { _ throws(OperationError) in
        do throws(OperationError) {
          guard try repeatReset(within: limit) else { return false }
          if state.withLock({ state in !state.keepsCommand }) {
            try device.reopen()
            try notifications.register(with: device)
          }
        } catch {
          observe(.warning("not recovered after an error: \(error)"), 0)
          return false
        }
        willArm()
        return try state.withLock { state throws(OperationError) in
          guard state.gate.conditions.contains(.alive) else { return false }
          try state.finishReset(isInD0: true)
          update(state)
          return true
        }
      }
    } catch {
      try isolate(error)
      return false
    }
  }

  /// The time in milliseconds between two attempts of a reset.
  private static var resetPause: Int32 { 20 }

  /// Resets the function, repeatedly while the kernel refuses it. Returns false if the function leaves before the reset.
  private func repeatReset(within limit: Int64) throws(OperationError) -> Bool {
    // The end of the recovery opens a device again that has no safe reset.
    guard configuration.reset.isSafeWhileRunning else { return true }
    let end = Clock.microseconds() + limit
    while true {
      do throws(OperationError) {
        try configuration.reset.perform(on: device, .slot, observe)
        return true
      } catch { guard error.errno == KernelError.again, Clock.microseconds() < end else { throw error } }
      do throws(KernelError) { if try isLeaving.wait(milliseconds: Self.resetPause) { return false } } catch {
        throw OperationError(error)
      }
    }
  }

  /// Takes a notification of the host. Returns false if there was none.
  public func take(_ notification: DeviceNotification) throws(FunctionError) -> Bool {
    do throws(OperationError) {
      return switch notification {
      case .error: try notifications.error.take() > 0
      case .request: try notifications.request.take() > 0
      }
    } catch { throw failure(error) }
  }

  /// True if the device answers requests for its configuration space. A device that was unplugged does not. A device in a
  /// reset does not either, so this waits for the end of a reset.
  public var isAnswering: Bool {
    handling.withLock { _ in
      // The kernel keeps copies of some registers. It reads the class code from the device.
      do throws(OperationError) {
        let value = try device.read(
          RegionIndex.config, offset: UInt64(ConfigOffset.classRevision), width: 4)
        return UInt32(truncatingIfNeeded: value) != .max
      } catch { return false }
    }
  }

  /// Takes the function from the guest, which has switched its slot off, or whose slot is empty from now on. The
  /// device stays open until ``release()``.
  public func leaveSlot() throws(FunctionError) {
    do throws(OperationError) { try detach(.released, .release, lossWarning) } catch { throw failure(error) }
  }

  /// Resets the device and returns it to the host, after ``leaveSlot()``.
  public func release() throws(FunctionError) {
    do throws(OperationError) { try handBack() } catch { throw failure(error) }
  }

  /// Reports a state of the function's life behind its port.
  public func note(_ state: TraceEvent.SlotState) { observe(.slot(state), 0) }

  /// True until the device is closed.
  public var isOpen: Bool { device.isOpen }

  /// The link of the device as the host's configuration space reports it, or the slowest link if the device has no
  /// PCI Express capability.
  public func link() throws(FunctionError) -> RootPort.Link { try locked { state in state.config.link } }
}
