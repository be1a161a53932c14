// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Synchronization
internal import Trace

/// How a function leaves the guest: at the end of the VM, after an error, or because the host wants it.
extension AssignedFunction {
  /// The descriptor that is readable after a notice, for an event loop.
  public func number(of notice: DeviceNotification) -> Int32 {
    switch notice {
    case .error: notices.error.number
    case .request: notices.request.number
    }
  }

  /// Does what a notice asks for.
  public func attend(to notice: DeviceNotification) throws(FunctionError) {
    do throws(OperationError) {
      switch notice {
      case .error:
        _ = try notices.error.take()
        try isolate(.isolated, .error, Self.errorReported)
      case .request:
        _ = try notices.request.take()
        try surrender()
      }
    } catch { throw failure(error) }
  }

  private static var errorReported: String {
    "the host's kernel reports an error of it (AER): the guest does not reach it any more"
  }

  /// Takes the function from the guest after a mapping could not be removed; that is tried once more.
  ///
  /// - Throws: The cause, if the mapping stands even so. The VM has to end then.
  func isolate(_ cause: OperationError) throws(FunctionError) {
    do throws(OperationError) {
      try isolate(.isolated, .error, "\(cause): the guest does not reach it any more")
    } catch { throw failure(error) }
  }

  /// Closes the gate for good: from now on the guest reads all-ones of the function, its configuration space
  /// included. Nothing is done where that is so already.
  private func isolate(
    _ loss: TraceEvent.DeviceState, _ reason: TraceEvent.WindowReason, _ text: String
  ) throws(OperationError) {
    isLeaving.signal()
    let start = Clock.microseconds()
    try state.withLock { state throws(OperationError) in
      guard state.gate.conditions.contains(.alive) else { return }
      try state.apply(.set(.alive, false), reason) { owner in
        // No memory, no bus mastering: it shall not reach guest RAM any more either.
        owner.writeDevice(ConfigOffset.command, width: 2, 0)
      }
      // A device that has gone may not take this any more; KVM has let go of it all the same.
      state.turnInterruptsOff()
      update(state)
      observe(.warning(text), 0)
      observe(.lost(loss), Clock.microseconds() - start)
    }
  }

  /// Gives the device back while the VM runs: the guest reads all-ones from now on.
  public func remove() throws(FunctionError) {
    do throws(OperationError) { try surrender() } catch { throw failure(error) }
  }

  /// Gives the device back while the VM runs: the kernel may wait for it.
  private func surrender() throws(OperationError) {
    try isolate(.released, .release, "the host wants it back: the guest does not have it any more")
    try handling.withLock { _ throws(OperationError) in
      do throws(OperationError) {
        // A bus that has others of the VM on it is not reset under their open windows.
        if configuration.reset.isSafeWhileRunning {
          try configuration.reset.perform(on: device, .handBack, observe)
        }
      } catch {
        // The kernel, which is taking the device away, holds it; or it is gone already.
        if error.errno != KernelError.again {
          observe(.warning("it goes back without a reset: \(error)"), 0)
        }
      }
      device.close()
    }
  }

  /// Closes the gate at the end of the VM, whose vCPUs have stopped; before any function is reset, because a
  /// bus reset reaches others too.
  public func quiesce() throws(FunctionError) {
    do throws(OperationError) {
      try state.withLock { state throws(OperationError) in
        guard state.gate.conditions.contains(.alive) else { return }
        state.hasStopped = true
        try state.apply(.set(.alive, false), .shutdown) { owner in
          owner.writeDevice(ConfigOffset.command, width: 2, 0)
        }
        try state.interrupts.silence()
      }
    } catch { throw failure(error) }
  }

  /// Resets the device for its next owner and gives it back, upon which the kernel resets it once more; comes
  /// after ``quiesce()``. Nothing is done where it has been given back already, nor where ``quiesce()`` has failed to
  /// take a mapping away: the kernel does both when the process ends.
  public func resetAndRelease() throws(FunctionError) {
    guard device.isOpen, !state.withLock({ state in state.gate.isMapped }) else { return }
    defer { device.close() }
    do throws(OperationError) { try configuration.reset.perform(on: device, .handBack, observe) } catch {
      throw FunctionError(
        device: address,
        cause: OperationError(
          "\(error): it goes back as the guest left it; have "
            + "'echo 1 >/sys/bus/pci/devices/\(address)/reset' work before anything uses it",
          errno: error.errno))
    }
  }

  /// Whether it can be reset at the same time as the VM's other functions.
  public var isResetAlone: Bool { configuration.isResetAlone }
}
