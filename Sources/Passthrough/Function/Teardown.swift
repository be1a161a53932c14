// SPDX-License-Identifier: Apache-2.0

internal import Gate
internal import Linux
internal import PCI
internal import Seams
internal import Synchronization
internal import Trace

/// The teardown of a function: at the end of the VM, after an error, or on a request of the host.
extension AssignedFunction {
  /// Returns the descriptor of a notification's eventfd, for an event loop. It is readable after the
  /// notification.
  public func number(of notification: DeviceNotification) -> Int32 {
    switch notification {
    case .error: notifications.error.number
    case .request: notifications.request.number
    }
  }

  /// Isolates the function after an error, or releases the device after a request.
  public func handle(_ notification: DeviceNotification) throws(FunctionError) {
    do throws(OperationError) {
      switch notification {
      case .error:
        _ = try notifications.error.take()
        try detach(.isolated, .error, Self.errorReported)
      case .request:
        _ = try notifications.request.take()
        if let lossWarning {
          try detach(.isolated, .error, lossWarning)
          try handBack()
        } else {
          try returnToHost("removed from the guest: the host requests the device")
        }
      }
    } catch { throw failure(error) }
  }

  /// The warning if the process of the device has ended or has broken the protocol, or nil.
  var lossWarning: FunctionWarning? {
    device.loss.map { FunctionWarning("lost by the guest: \($0)", .lostServer) }
  }

  private static var errorReported: FunctionWarning {
    "isolated from the guest: the host's kernel reported an error of the device (AER)"
  }

  /// Isolates the function after a mapping could not be removed. Tries the removal once more.
  ///
  /// - Throws: The cause if the mapping still exists. The VM must end then.
  func isolate(_ cause: OperationError) throws(FunctionError) {
    do throws(OperationError) {
      try detach(.isolated, .error, FunctionWarning("isolated from the guest: \(cause)"))
    } catch { throw failure(error) }
  }

  /// Takes the function from the guest: closes the gate permanently. The guest then reads all-ones from the
  /// function, including its configuration space. Does nothing if the gate has already closed permanently.
  func detach(
    _ loss: TraceEvent.DeviceState, _ reason: TraceEvent.WindowReason, _ warning: FunctionWarning?
  ) throws(OperationError) {
    isLeaving.signal()
    let start = Clock.microseconds()
    try state.withLock { state throws(OperationError) in
      guard state.gate.conditions.contains(.alive) else { return }
      try state.apply(.set(.alive, false), reason) { owner in
        // Memory and bus mastering go off, so that the device no longer reaches guest RAM.
        owner.writeDevice(ConfigOffset.command, width: 2, 0)
      }
      // An unplugged device may reject this. KVM removes its irqfds even then.
      state.turnInterruptsOff()
      state.loss = loss
      update(state)
      if let warning { observe(.warning(warning), 0) }
      observe(.lost(loss), Clock.microseconds() - start)
    }
  }

  /// Releases the device while the VM runs. The guest then reads all-ones from the function.
  public func remove() throws(FunctionError) {
    do throws(OperationError) {
      try returnToHost("removed from the guest: the user requests the device")
    } catch { throw failure(error) }
  }

  /// Releases the device while the VM runs. The kernel may wait for the release.
  private func returnToHost(_ warning: FunctionWarning) throws(OperationError) {
    try detach(.released, .release, warning)
    try handBack()
  }

  /// Resets and closes the device, which the guest no longer has.
  func handBack() throws(OperationError) {
    try handling.withLock { _ throws(OperationError) in
      // The kernel repeats its request until the device is closed.
      guard device.isOpen else { return }
      do throws(OperationError) {
        // A bus reset that affects other devices of the VM is skipped: their windows may be open.
        if configuration.reset.isSafeWhileRunning, device.loss == nil {
          try configuration.reset.perform(on: device, .handBack, observe)
        }
      } catch {
        // The kernel holds the device for its removal (EAGAIN), or the device is already gone.
        if error.errno != KernelError.again {
          observe(.warning(lossWarning ?? "released without a reset: \(error)"), 0)
        }
      }
      device.close()
    }
  }

  /// Closes the gate at the end of the VM, after the vCPUs have stopped. The gates of all functions close
  /// before any function is reset, because a bus reset affects other functions too.
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

  /// Resets the device for its next owner and releases it, after ``quiesce()``. The kernel resets the device
  /// once more on the release. Does nothing if the device has already been released, or if ``quiesce()``
  /// failed to remove a mapping: the kernel then resets and releases the device when the process ends.
  public func resetAndRelease() throws(FunctionError) {
    guard device.isOpen, !state.withLock({ state in state.gate.isMapped }) else { return }
    defer { device.close() }
    // The process of a lost device keeps no state for its next owner.
    guard device.loss == nil else { return }
    do throws(OperationError) { try configuration.reset.perform(on: device, .handBack, observe) } catch {
      // The kernel holds the device for its removal. It resets the device on the release.
      if error.errno == KernelError.again { return }
      // The process has ended during the reset.
      if let lossWarning { return observe(.warning(lossWarning), 0) }
      throw FunctionError(
        device: address,
        cause: OperationError("released without a reset: \(error)", errno: error.errno),
        isReleasedWithoutReset: true)
    }
  }

  /// The function's presence in the guest.
  public var presence: FunctionPresence {
    let (isAlive, loss) = state.withLock { state in (state.gate.conditions.contains(.alive), state.loss) }
    if isAlive { return .present }
    if !device.isOpen { return .released }
    return loss == .isolated ? .isolated : .leaving
  }

  /// True if the function can be reset concurrently with the other functions of the VM.
  public var isResetAlone: Bool { configuration.isResetAlone }
}
